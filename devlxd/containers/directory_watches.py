# -*- test-case-name: tests.containers.test_directory_store -*-
"""Watching a directory of documents, and directories that its entries refer to."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from attrs import define, field
from twisted.logger import Logger

from devlxd.containers.document_paths import (
    container_name,
    entries_elsewhere,
    is_hidden,
)
from devlxd.interfaces import IWatcher

#: How often the directory is scanned while not everything can be watched, in
#: seconds.
SCAN_INTERVAL = 2.0

#: How often, at most, the entries to watch are determined for one read: they may
#: change while watches are added.
_ATTEMPTS = 3


@define
class _Dependencies:
    """The entries of watched directories that containers depend on."""

    # The names of the containers, by watch and entry.
    _names: dict[int, dict[str, set[str]]] = field(factory=dict)
    # The pairs of a watch and an entry, by the name of the container.
    _by_name: dict[str, set[tuple[int, str]]] = field(factory=dict)

    def names(self, watch: int, entry: str) -> Collection[str]:
        """Return the names of the containers that depend on an entry."""
        return self._names.get(watch, {}).get(entry, ())

    def replace(self, name: str, entries: set[tuple[int, str]]) -> set[int]:
        """Replace the entries that a container depends on.

        :return: the watches that no container needs any longer.
        """
        old = self._by_name.pop(name, set())
        for watch, entry in entries - old:
            self._names.setdefault(watch, {}).setdefault(entry, set()).add(name)
        if entries:
            self._by_name[name] = entries
        return {
            watch for watch, entry in old - entries if self._drop(watch, entry, name)
        }

    def _drop(self, watch: int, entry: str, name: str) -> bool:
        """Remove a dependency; return whether no container needs the watch."""
        entries = self._names.get(watch, {})
        entries.get(entry, set()).discard(name)
        if not entries.get(entry):
            entries.pop(entry, None)
        if entries:
            return False
        self._names.pop(watch, None)
        return True

    def remove(self, watch: int) -> set[str]:
        """Remove a watch, and return the names of the containers that needed it."""
        names: set[str] = set().union(*self._names.pop(watch, {}).values())
        for name in names:
            self._by_name[name] = {e for e in self._by_name[name] if e[0] != watch}
        return names


class DirectoryWatches:
    """The watches on the directory, and on directories that its entries refer to.

    These are the containers' own directories, and the directories of the targets
    of symbolic links.

    :param watcher: watches the directories; it must be running.
    :param directory: the directory of the documents.
    """

    _log = Logger()

    def __init__(self, watcher: IWatcher, directory: Path) -> None:
        self._watcher = watcher
        self._directory = directory
        self._watch_number: int | None = None
        self._dependencies = _Dependencies()
        # Names of containers with an entry that cannot be watched; "" stands for
        # the directory itself.
        self._incomplete: set[str] = set()

    @property
    def is_complete(self) -> bool:
        """Whether all directories that documents depend on are watched."""
        return not self._incomplete

    def is_directory(self, watch: int) -> bool:
        """Return whether ``watch`` is the watch on the directory itself."""
        return watch == self._watch_number

    def affected(self, watch: int, entry: str) -> set[str]:
        """Return the names of the containers that a change of an entry affects."""
        names = set(self._dependencies.names(watch, entry))
        if self.is_directory(watch) and entry and not is_hidden(entry):
            names.add(container_name(entry))
        return names

    def watch_directory(self) -> None:
        """Watch the directory itself, even if it was replaced by another one."""
        path = str(self._directory)
        watch = self._watch("", {path}).get(path)
        if self._watch_number is not None and self._watch_number != watch:
            self._watcher.unwatch(self._watch_number)
        self._watch_number = watch

    def watch_for(self, name: str) -> None:
        """Watch what the container ``name`` depends on in other directories."""
        watched: set[tuple[str, str]] | None = None
        for _attempt in range(_ATTEMPTS):
            entries = entries_elsewhere(self._directory, name)
            if entries == watched:
                return
            watched = entries
            watches = self._watch(name, {directory for directory, _ in entries})
            dependencies = {(watches[d], e) for d, e in entries if d in watches}
            for unused in self._dependencies.replace(name, dependencies):
                if not self.is_directory(unused):
                    self._watcher.unwatch(unused)
            if not entries:
                # What is added now is reported by the watch on the directory itself.
                return

    def remove_watch(self, watch: int) -> set[str]:
        """Remove a watch that has ended.

        :return: the names of the containers that depended on it.
        """
        return self._dependencies.remove(watch)

    def _watch(self, name: str, directories: Collection[str]) -> dict[str, int]:
        """Watch directories for a container; log a failure if it is the first one.

        :return: the watches of those directories that can be watched.
        """
        watches = {}
        problem = None
        for directory in directories:
            try:
                watches[directory] = self._watcher.watch(directory)
            except OSError as error:
                problem = f"{directory}: cannot be watched ({error.strerror})"
        if problem is None:
            self._incomplete.discard(name)
            return watches
        if self.is_complete:
            self._log.warn(
                "{problem}; scanning all documents every {seconds:.0f} s instead",
                problem=problem,
                seconds=SCAN_INTERVAL,
            )
        self._incomplete.add(name)
        return watches

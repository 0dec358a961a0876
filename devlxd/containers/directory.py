# -*- test-case-name: tests.containers.test_directory -*-
"""A container store on disk: a directory with one document a container."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from attrs import frozen
from twisted.logger import Logger
from zope.interface import implementer

from devlxd.containers.documents import (
    MAX_DOCUMENT,
    DocumentError,
    Form,
    read_container,
    shown,
)
from devlxd.containers.memory import MemoryStore
from devlxd.interfaces import IContainerStore, IStoreObserver
from devlxd.model import Container, is_container_name

#: ``NAME.yaml``, by its suffix.
_SUFFIXES = {".yaml": Form.YAML, ".yml": Form.YAML, ".json": Form.JSON}

#: ``NAME/config.yaml``, by the name in the directory.
_INSIDE = {"config.yaml": Form.YAML, "backup.yaml": Form.RECORD}


@frozen
class _Place:
    """Where a document may lie, and how it is written down."""

    path: Path
    form: Form


class UnreadableError(Exception):
    """An entry of the directory that gives no container; the text says why."""


@implementer(IContainerStore)
class DirectoryStore:
    """The containers of a directory.

    The directory holds ``NAME.yaml``, ``NAME.yml``, ``NAME.json``,
    ``NAME/config.yaml`` or ``NAME/backup.yaml``, one of them for each
    container. What cannot be read is named in the log, one line each, and
    changes nothing. Nothing is ever written there.
    """

    _log = Logger()

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._snapshots = MemoryStore()

    def get(self, name: str) -> Container | None:
        """See `IContainerStore.get`."""
        return self._snapshots.get(name)

    def by_id(self, container_id: str) -> Container | None:
        """See `IContainerStore.by_id`."""
        return self._snapshots.by_id(container_id)

    def names(self) -> Collection[str]:
        """See `IContainerStore.names`."""
        return self._snapshots.names()

    def watch(self, observer: IStoreObserver) -> None:
        """See `IContainerStore.watch`."""
        self._snapshots.watch(observer)

    def unwatch(self, observer: IStoreObserver) -> None:
        """See `IContainerStore.unwatch`."""
        self._snapshots.unwatch(observer)

    def load(self) -> None:
        """Read the whole directory, and forget what is not there any more.

        :raises OSError: when the directory itself cannot be read.
        """
        by_name = self._by_name()
        for name in set(self.names()) - set(by_name):
            self._snapshots.remove(name)
        for name, entries in sorted(by_name.items()):
            self._load_one(name, entries)

    def _by_name(self) -> dict[str, list[str]]:
        """Group the entries that may hold a container by its name."""
        by_name: dict[str, list[str]] = {}
        for entry in os.listdir(self._directory):
            stem, suffix = os.path.splitext(entry)
            name = stem if suffix in _SUFFIXES else entry
            if not entry.startswith("."):
                by_name.setdefault(name, []).append(entry)
        return by_name

    def _load_one(self, name: str, entries: list[str]) -> None:
        try:
            container = _read(name, [self._directory / entry for entry in entries])
        except UnreadableError as error:
            self._log.error("container not read: {error}", error=error)
        else:
            if container is not None:
                self._snapshots.put(container)


def _read(name: str, entries: list[Path]) -> Container | None:
    """Read the container ``name`` from the entries that bear its name.

    :return: ``None`` where none of them has to do with a container.
    :raises UnreadableError: when there is no telling what it is.
    """
    places = [place for entry in sorted(entries) for place in _places(entry)]
    if not places:
        return None
    if not is_container_name(name):
        raise UnreadableError(f"{_shown(places[0].path)}: not a container's name")
    if len(places) > 1:
        found = " and ".join(_shown(place.path) for place in places)
        raise UnreadableError(f"{found}: more than one document for {name}")
    return _read_document(name, places[0])


def _places(entry: Path) -> Iterator[_Place]:
    """Tell where the documents are that ``entry`` stands for."""
    if entry.suffix in _SUFFIXES:
        yield _Place(entry, _SUFFIXES[entry.suffix])
        return
    try:
        if not stat.S_ISDIR(entry.stat().st_mode):
            return
    except OSError as error:
        raise UnreadableError(f"{_shown(entry)}: {_reason(error)}") from None
    for inside, form in _INSIDE.items():
        if os.path.lexists(entry / inside):
            yield _Place(entry / inside, form)


def _read_document(name: str, place: _Place) -> Container:
    try:
        content = _content(place.path)
    except OSError as error:
        raise UnreadableError(f"{_shown(place.path)}: {_reason(error)}") from None
    try:
        return read_container(name, content, place.form)
    except DocumentError as error:
        line = "" if error.line is None else f":{error.line}"
        raise UnreadableError(f"{_shown(place.path)}{line}: {error.reason}") from None


def _content(path: Path) -> bytes:
    """Read a regular file whole; never wait on a FIFO or a device."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        # One byte too many tells the reader of documents that it is too long.
        return file.read(MAX_DOCUMENT + 1)


def _shown(path: Path) -> str:
    return shown(str(path))


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "a link that leads nowhere"
    return error.strerror or str(error)

# -*- test-case-name: tests.containers.test_directory -*-
"""A container store on disk: a directory with one document a container.

What the disk says reaches the snapshots on one way only: a name is marked, and
then its document is read, for some milliseconds at a time. The watcher marks what
was touched; all names are marked when events were lost, and, where not everything
can be watched, every few seconds.

What cannot be read is tried again for a second before the log says so: it may be
half written, at a time when nobody tells of that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TypeAlias

from attrs import define, evolve, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from devlxd.containers.documents import Reading
from devlxd.containers.memory import MemoryStore
from devlxd.containers.places import (
    Document,
    Place,
    UnreadableError,
    ignored,
    is_hidden,
    name_of,
    places_of,
    read_container,
    read_document,
    signature_of,
    state_of,
    watched_entries,
)
from devlxd.containers.trees import shown
from devlxd.interfaces import (
    IContainerStore,
    IStoreObserver,
    IWatcher,
    IWatchListener,
)
from devlxd.loglimit import RateLimitedLogger
from devlxd.model import Container
from devlxd.turns import Slices, cooperator, finish

#: For how long a document may be missing before its container is, in seconds:
#: editors move the old file away before they write the new one.
GRACE = 1.0

#: How often all is looked at where not everything can be watched, in seconds.
LOOK_INTERVAL = 2.0

#: How often all is looked at anyway, in seconds, for what no watch tells: a
#: link in the middle of a chain of links that now points elsewhere, say.
IDLE_LOOK_INTERVAL = 60.0

#: For how long documents are read before the reactor does something else, in
#: seconds.
SLICE = 0.002

#: From how many bytes on a document is read beside the others, and not before
#: them.
LARGE = 64 * 1024

#: How many of these are read at a time: each takes some ten times its length.
MAX_LARGE = 4

#: For how long a document that changed must have been the same before it is
#: believed, in seconds, where nobody told of the change: it may be half written.
SETTLE = 0.25

#: After how many seconds what could not be read is tried again before the log
#: says so...
QUIET_RETRIES = (0.1, 0.2, 0.3, 0.4)

#: ...and after that, where it may pass by itself; the last one from then on.
RETRIES = (1.0, 2.0, 5.0)

#: How many texts are compared in one slice.
_COMPARED = 1000

#: What signature a document has.
_Signature: TypeAlias = "tuple[str | int | None, ...] | None"


def _are_equal(one: Container, other: Container) -> Slices[bool]:
    """Compare two snapshots, in slices."""
    parts: tuple[tuple[Mapping[str, object], Mapping[str, object]], ...]
    parts = (one.config, other.config), (one.devices, other.devices)
    for part, other_part in parts:
        if len(part) != len(other_part):
            return False
        for number, (key, value) in enumerate(part.items(), 1):
            if other_part.get(key) != value:
                return False
            if number % _COMPARED == 0:
                yield
    return _without_parts(one) == _without_parts(other)


def _without_parts(container: Container) -> Container:
    return evolve(container, config={}, devices={})


@define
class _Interests:
    """Which names an entry of a watched directory matters to."""

    _names: dict[int, dict[str, set[str]]] = field(factory=dict)
    _by_name: dict[str, set[tuple[int, str]]] = field(factory=dict)

    def of(self, watch: int, entry: str) -> Collection[str]:
        """Return the names that ``entry`` matters to."""
        return self._names.get(watch, {}).get(entry, ())

    def replace(self, name: str, interests: set[tuple[int, str]]) -> set[int]:
        """Let these matter to ``name``, and return the watches nobody needs now."""
        old = self._by_name.pop(name, set())
        for watch, entry in interests - old:
            self._names.setdefault(watch, {}).setdefault(entry, set()).add(name)
        if interests:
            self._by_name[name] = interests
        return {
            watch for watch, entry in old - interests if self._drop(watch, entry, name)
        }

    def _drop(self, watch: int, entry: str, name: str) -> bool:
        entries = self._names.get(watch, {})
        entries.get(entry, set()).discard(name)
        if not entries.get(entry):
            entries.pop(entry, None)
        if entries:
            return False
        self._names.pop(watch, None)
        return True

    def lose(self, watch: int) -> set[str]:
        """Forget a watch, and return the names that had an interest in it."""
        names: set[str] = set().union(*self._names.pop(watch, {}).values())
        for name in names:
            self._by_name[name] = {i for i in self._by_name[name] if i[0] != watch}
        return names


@define
class _Trouble:
    """Why a container cannot be read for the moment.

    :ivar error: what is wrong.
    :ivar tries: how often that was tried again.
    :ivar told: the reason that is in the log; empty while it is quiet.
    :ivar retry: the next try, if there is one.
    """

    error: UnreadableError
    tries: int = 0
    told: str = ""
    retry: IDelayedCall | None = None

    def delay(self) -> float | None:
        """Return after how many seconds to try again; ``None`` for never."""
        if self.is_quiet:
            return QUIET_RETRIES[self.tries]
        later = min(self.tries - len(QUIET_RETRIES), len(RETRIES) - 1)
        return RETRIES[later] if self.error.may_pass else None

    @property
    def is_quiet(self) -> bool:
        """Whether it is too early to tell of it."""
        return self.tries < len(QUIET_RETRIES)


@implementer(IContainerStore, IWatchListener)
class DirectoryStore(Service):
    """The containers of a directory, as they are on disk, while it runs.

    The directory holds ``NAME.yaml``, ``NAME.yml``, ``NAME.json``,
    ``NAME/config.yaml`` or ``NAME/backup.yaml``, one of them for each
    container. What cannot be read is named in the log, one line each, and
    changes nothing. Nothing is ever written there.

    :ivar directory: the directory.
    :param reactor: for what waits.
    :param watcher: tells what was touched.
    :param wall: tells the time as file systems do, in seconds since 1970.
    """

    _log = Logger()

    def __init__(
        self,
        directory: Path,
        reactor: IReactorTime,
        watcher: IWatcher,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.directory = directory
        self._reactor = reactor
        self._wall = wall
        self._watcher = watcher
        self._limited = RateLimitedLogger(self._log, reactor)
        self._snapshots = MemoryStore()
        self._waiting: dict[Deferred[None], None] = {}
        self._start_over()

    def _start_over(self) -> None:
        """Forget all about the files, but not the snapshots."""
        # Not read yet since the start.
        self._unread: set[str] = set()
        # To be read, in this order: what was touched; what may have been.
        self._touched: dict[str, None] = {}
        self._marked: dict[str, None] = {}
        # What is being written to, and since when.
        self._torn: dict[str, float] = {}
        self._signatures: dict[str, _Signature] = {}
        # What is being read: what is marked of it has to wait. Large ones are
        # read beside the others, and only so many of them.
        self._reading: set[str] = set()
        self._large: set[str] = set()
        self._postponed: dict[str, None] = {}
        # What was seen of documents that had to settle, and since when.
        self._states: dict[str, tuple[object, float]] = {}
        self._troubles: dict[str, _Trouble] = {}
        # What the log has said, not to say it at each change.
        self._hinted: dict[str, set[str]] = {}
        self._ignored: set[str] = set()
        self._missing: dict[str, IDelayedCall] = {}
        self._top: int | None = None
        self._interests = _Interests()
        self._unwatched: set[str] = set()
        self._next_look: IDelayedCall | None = None
        self._working = False

    # A store

    def get(self, name: str) -> Container | None:
        """See `IContainerStore.get`.

        While the directory is read for the first time, what is asked for is
        read at once, unless it is large: a guest does not wait for all the
        others.
        """
        if name in self._unread and not self._is_in_work(name):
            finish(self._read_safely(name))
        return self._snapshots.get(name)

    def by_id(self, container_id: str) -> Container | None:
        """See `IContainerStore.by_id`."""
        return self._snapshots.by_id(container_id)

    def names(self) -> Collection[str]:
        """See `IContainerStore.names`."""
        return self._snapshots.names()

    def has(self, name: str) -> bool:
        """See `IContainerStore.has`."""
        return (
            self._snapshots.has(name)
            or name in self._troubles
            or self._is_in_work(name)
        )

    def loaded(self) -> Deferred[None]:
        """See `IContainerStore.loaded`."""
        loaded: Deferred[None] = Deferred(self._waiting.pop)
        if self.running and not self._unread:
            loaded.callback(None)
        else:
            self._waiting[loaded] = None
        return loaded

    def watch(self, observer: IStoreObserver) -> None:
        """See `IContainerStore.watch`."""
        self._snapshots.watch(observer)

    def unwatch(self, observer: IStoreObserver) -> None:
        """See `IContainerStore.unwatch`."""
        self._snapshots.unwatch(observer)

    # A service

    def startService(self) -> None:
        """Begin to watch, and to read."""
        super().startService()
        self._cooperator = cooperator(self._reactor, SLICE)
        self._watcher.start(self)
        self._look()
        self._unread = {*self._touched, *self._marked}
        self._tell_if_loaded()

    def stopService(self) -> None:
        """Leave the snapshots as they are now."""
        if not self.running:
            return
        super().stopService()
        self._cooperator.stop()
        self._watcher.stop()
        retries = [trouble.retry for trouble in self._troubles.values()]
        for call in (self._next_look, *self._missing.values(), *retries):
            if call is not None and call.active():
                call.cancel()
        self._start_over()

    def reload(self) -> None:
        """Read every document anew, whether or not it was touched.

        What looks like a mistake is told once more. What is being written to is
        read when that is done.
        """
        if not self.running:
            return
        self._log.info("all of {path} is read anew", path=str(self.directory))
        for known in (self._signatures, self._hinted, self._ignored):
            known.clear()
        self._look()

    # A listener: what was touched is marked

    def touched(self, watch: int, entry: str, complete: bool) -> None:
        """See `IWatchListener.touched`."""
        names = set(self._interests.of(watch, entry))
        if watch == self._top and entry and not is_hidden(entry):
            names.add(name_of(entry))
        for name in names:
            if complete:
                self._torn.pop(name, None)
                self._touched[name] = None
            else:
                self._torn[name] = self._reactor.seconds()
                self._touched.pop(name, None)
        self._work()

    def lost(self, watch: int) -> None:
        """See `IWatchListener.lost`."""
        for name in self._interests.lose(watch):
            self._touched[name] = None
        if watch == self._top:
            self._look()
        self._work()

    def overflowed(self) -> None:
        """See `IWatchListener.overflowed`."""
        self._log.info("events of {path} were lost", path=str(self.directory))
        # What was told before may have begun anew since.
        self._marked.update(self._touched)
        self._touched.clear()
        self._torn.clear()
        self._look()

    # Looking marks everything.

    def _look(self) -> None:
        if self._next_look is not None and self._next_look.active():
            self._next_look.cancel()
        self._watch_top()
        for name in (*self._names_on_disk(), *self._troubles, *self.names()):
            self._marked[name] = None
        self._work()
        seconds = LOOK_INTERVAL if self._unwatched else IDLE_LOOK_INTERVAL
        self._next_look = self._reactor.callLater(seconds, self._look)

    def _watch_top(self) -> None:
        path = str(self.directory)
        top = self._watch("", {path}).get(path)
        if self._top is not None and self._top != top:
            self._watcher.unwatch(self._top)
        self._top = top

    def _names_on_disk(self) -> Collection[str]:
        try:
            entries = os.listdir(self.directory)
        except FileNotFoundError:
            return ()
        except OSError as error:
            self._limited.error(
                "{path}: cannot be listed ({error.strerror})",
                of=("", error.errno),
                path=str(self.directory),
                error=error,
            )
            self._unwatched.add("")
            return ()
        return {name_of(entry) for entry in entries if not is_hidden(entry)}

    def _watch(self, name: str, directories: Collection[str]) -> dict[str, int]:
        """Watch the directories that matter to ``name``.

        :return: the watches that there are. What cannot be watched is looked
            at every few seconds instead.
        """
        watches = {}
        problem = None
        for directory in directories:
            try:
                watches[directory] = self._watcher.watch(directory)
            except OSError as error:
                problem = f"{directory}: cannot be watched ({error.strerror})"
        if problem is None:
            self._unwatched.discard(name)
        else:
            if not self._unwatched:
                self._log.warn(
                    "{problem}; all is looked at every {seconds:.0f} s",
                    problem=problem,
                    seconds=LOOK_INTERVAL,
                )
            self._unwatched.add(name)
            self._look_within(LOOK_INTERVAL)
        return watches

    def _look_within(self, seconds: float) -> None:
        call = self._next_look
        if call is None or not call.active():
            return
        if call.getTime() - self._reactor.seconds() > seconds:
            call.reset(seconds)

    # Reading: what is marked is read, for some milliseconds at a time

    def _work(self) -> None:
        if (self._touched or self._marked) and not self._working and self.running:
            self._working = True
            self._cooperator.cooperate(self._read_all_marked())

    def _read_all_marked(self) -> Iterator[None]:
        while (name := self._next_marked()) is not None:
            yield from self._read_safely(name)
            yield
        self._working = False

    def _next_marked(self) -> str | None:
        marked = chain(self._touched, self._marked)
        return next((name for name in marked if name not in self._reading), None)

    def _is_in_work(self, name: str) -> bool:
        return name in self._reading or name in self._postponed

    def _read_safely(self, name: str) -> Slices[None]:
        yield from self._safely(name, self._read_marked(name))

    def _safely(self, name: str, slices: Slices[None]) -> Slices[None]:
        """Do ``slices``, whatever becomes of it, then see what is left to be done."""
        try:
            yield from slices
        except Exception:
            self._log.failure("{name} could not be read", name=name)
        if name in self._unread and not (
            self._is_in_work(name) or self._is_marked(name)
        ):
            self._unread.remove(name)
            self._tell_if_loaded()

    def _tell_if_loaded(self) -> None:
        # One by one: what hears of it may cancel another.
        while self._waiting and not self._unread:
            loaded = next(iter(self._waiting))
            del self._waiting[loaded]
            loaded.callback(None)

    def _read_marked(self, name: str) -> Slices[None]:
        must = name in self._touched
        self._touched.pop(name, None)
        self._marked.pop(name, None)
        if self._is_written_to(name):
            return
        # Watched before it is read, so that no change falls in between.
        self._watch_what_matters_to(name)
        document, signature, problem = None, None, None
        try:
            places = places_of(self.directory, name)
            signature = signature_of(places, self._wall())
            if not must and signature and signature == self._signatures.get(name):
                return
            if not must and signature is None:
                self._check_settled(name, places)
            document = read_document(name, places)
        except UnreadableError as error:
            problem = error
        if not self._watcher.poll():
            # What happened meanwhile is not all told yet.
            self._touched[name] = None
        if self._was_reported(name):
            return
        # Whatever has one was read: what could not be is read again.
        self._signatures.pop(name, None)
        if problem is not None:
            self._note(name, problem)
        elif document is None:
            self._forget(name)
        elif len(document.content) <= LARGE:
            yield from self._read_document(name, document, signature)
        elif len(self._large) < MAX_LARGE:
            self._large.add(name)
            self._reading.add(name)
            large = self._read_large(name, document, signature)
            self._cooperator.cooperate(self._safely(name, large))
        else:
            self._postponed[name] = None

    def _check_settled(self, name: str, places: list[Place]) -> None:
        """Check that nobody is likely to be writing what nobody told of.

        :raises UnreadableError: when somebody may be. What is read for the first
            time is read all the same.
        """
        if name in self._unread or not self._snapshots.has(name):
            return
        state, now = state_of(places), self._reactor.seconds()
        seen, since = self._states.get(name, (None, now))
        if state != seen:
            since = now
            self._states[name] = (state, now)
        if now - since < SETTLE:
            raise UnreadableError(places[0].shown(), "keeps changing", may_pass=True)

    def _is_marked(self, name: str) -> bool:
        return name in self._touched or name in self._marked

    def _was_reported(self, name: str) -> bool:
        """Tell whether anything was reported of ``name`` since it was unmarked.

        Then what was read meanwhile may be half of something, also where the
        report says that it is complete: it was made, written and closed since
        the last report, and read in between. It is read again.
        """
        return self._is_marked(name) or name in self._torn

    def _read_large(
        self, name: str, document: Document, signature: _Signature
    ) -> Slices[None]:
        """Read a large document beside the others, then let in the next large one."""
        try:
            yield from self._read_document(name, document, signature)
        finally:
            self._large.discard(name)
            if self._postponed:
                postponed = next(iter(self._postponed))
                del self._postponed[postponed]
                self._touched[postponed] = None
            self._work()

    def _read_document(
        self, name: str, document: Document, signature: _Signature
    ) -> Slices[None]:
        self._reading.add(name)
        try:
            reading = yield from read_container(name, document)
            old = self._snapshots.get(name)
            is_old = old and (yield from _are_equal(old, reading.container))
        except UnreadableError as error:
            self._signatures[name] = signature
            self._note(name, error)
        else:
            self._signatures[name] = signature
            self._found(name)
            if not is_old or self._snapshots.get(name) is not old:
                self._snapshots.replace(reading.container)
            self._tell_hints(name, document.place, reading)
        finally:
            self._reading.discard(name)

    def _is_written_to(self, name: str) -> bool:
        """Tell whether somebody still writes to it, of whose end we shall hear."""
        since = self._torn.get(name)
        if since is None or since + IDLE_LOOK_INTERVAL >= self._reactor.seconds():
            return since is not None
        # There are ways to write that have no end.
        del self._torn[name]
        return False

    def _watch_what_matters_to(self, name: str) -> None:
        watched: set[tuple[str, str]] | None = None
        for _attempt in range(3):
            entries = watched_entries(self.directory, name)
            if entries == watched:
                return
            watched = entries
            watches = self._watch(name, {directory for directory, _ in entries})
            interests = {(watches[d], e) for d, e in entries if d in watches}
            for unused in self._interests.replace(name, interests):
                if unused != self._top:
                    self._watcher.unwatch(unused)

    # What cannot be read is tried again, and told

    def _note(self, name: str, error: UnreadableError) -> None:
        """Hear why ``name`` cannot be read; its last snapshot stays."""
        self._is_not_missing(name)
        trouble = self._troubles.setdefault(name, _Trouble(error))
        if trouble.error.reason != error.reason and not trouble.is_quiet:
            trouble.tries = 0
        trouble.error = error
        if trouble.retry is not None:
            return
        if not trouble.is_quiet and trouble.told != error.reason:
            trouble.told = error.reason
            self._limited.error(
                "container not read: {problem}",
                of=(name, error.reason),
                problem=str(error),
            )
        delay = trouble.delay()
        if delay is not None:
            trouble.retry = self._reactor.callLater(delay, self._retry, name)

    def _retry(self, name: str) -> None:
        trouble = self._troubles[name]
        trouble.retry = None
        trouble.tries += 1
        self._signatures.pop(name, None)
        self._marked[name] = None
        self._work()

    def _found(self, name: str) -> None:
        """Hear that ``name`` could be read."""
        self._is_not_missing(name)
        told = self._end_trouble(name)
        if told:
            self._limited.warn("container {name} is read again", of=name, name=name)

    def _end_trouble(self, name: str) -> str:
        """Forget what was wrong with ``name``, and return what the log says of it."""
        trouble = self._troubles.pop(name, None)
        if trouble is None:
            return ""
        if trouble.retry is not None:
            trouble.retry.cancel()
        return trouble.told

    def _tell_hints(self, name: str, place: Place, reading: Reading) -> None:
        """Tell what looks like a mistake, once for as long as it is there."""
        hints = {hint.text: hint.line for hint in reading.hints}
        container = reading.container
        others = sorted({*self._snapshots.names_with(container.id)} - {name})
        if others and container.id:
            same = f"id {shown(container.id)} is also that of {others[0]}"
            hints[f"{same}: neither is found by it"] = reading.id_line or 1
        told = self._hinted.pop(name, set())
        for text in hints.keys() - told:
            where = place.shown(hints[text])
            self._limited.warn(
                "{where}: {hint}", of=(name, text), where=where, hint=text
            )
        if hints:
            self._hinted[name] = {*hints}

    # Documents that are gone

    def _forget(self, name: str) -> None:
        """Hear that no document of ``name`` is there, for the moment or for good."""
        self._end_trouble(name)
        self._states.pop(name, None)
        self._hinted.pop(name, None)
        if name not in self._missing and self._snapshots.get(name) is not None:
            self._missing[name] = self._reactor.callLater(GRACE, self._remove, name)
        path = ignored(self.directory, name)
        if path and name not in self._ignored:
            self._log.warn(
                "{path} is ignored: a document is NAME.yaml, NAME.yml or NAME.json",
                path=path,
            )
        (self._ignored.add if path else self._ignored.discard)(name)

    def _is_not_missing(self, name: str) -> None:
        missing = self._missing.pop(name, None)
        if missing is not None:
            missing.cancel()

    def _remove(self, name: str) -> None:
        del self._missing[name]
        if not self._is_back(name):
            self._log.info("container {name} has no document any more", name=name)
            self._snapshots.remove(name)

    def _is_back(self, name: str) -> bool:
        """Look once more whether ``name`` has a document, if nobody told."""
        self._touched[name] = None
        try:
            is_back = bool(places_of(self.directory, name))
        except UnreadableError:
            is_back = True
        self._work()
        return is_back

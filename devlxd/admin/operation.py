# -*- test-case-name: tests.admin.test_operation -*-
"""The guest services of this process, as all resources see them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from attrs import define, field, frozen

from devlxd.admin.records import Records
from devlxd.interfaces import IDocuments, IGuestService
from devlxd.model import Fault, SourceState
from devlxd.reloading import Reloaded
from devlxd.source_states import source_state, source_text
from devlxd.store_loading import is_loaded


@frozen
class Guests:
    """One guest service, and what is remembered of its containers.

    :ivar service: the service.
    :ivar records: its observer.
    """

    service: IGuestService
    records: Records

    @property
    def documents(self) -> IDocuments | None:
        """The documents of the containers; ``None`` if the store has none."""
        documents: IDocuments | None = IDocuments(self.service.store, None)
        return documents

    def faults(self) -> Sequence[Fault]:
        """Return what is wrong with the documents now."""
        return () if self.documents is None else self.documents.faults()

    def broken(self) -> set[str]:
        """Return the names of the containers whose documents cannot be used."""
        return {
            fault.container
            for fault in self.faults()
            if fault.breaks and fault.container is not None
        }

    def names(self) -> set[str]:
        """Return the names of all containers, also those that are broken."""
        return {*self.service.store.names(), *self.broken()}

    @property
    def source(self) -> SourceState | None:
        """The state of the remote source; ``None`` if there is none."""
        return source_state(self.service.store)

    def is_loaded(self) -> bool:
        """Return whether the containers are read."""
        return is_loaded(self.service.store)


@define
class Operation:
    """The state of this process, as its operator sees it.

    :ivar version: the version of devlxd.
    :ivar guests: the guest services: one for each directory of containers.
    :ivar limits: returns the limits in force, by their names.
    :ivar reload: reads the documents and the configuration again.
    :ivar now: returns the time, in nanoseconds since 1970.
    :ivar seconds: returns the time in seconds, from an arbitrary start.
    :ivar pid: the process id.
    """

    version: str
    guests: list[Guests] = field(factory=list)
    limits: Callable[[], Mapping[str, int | float]] = dict
    reload: Callable[[], Reloaded] = Reloaded
    now: Callable[[], int] = time.time_ns
    seconds: Callable[[], float] = time.monotonic
    pid: int = field(factory=os.getpid)
    _began: float | None = None

    def begin(self) -> None:
        """Take the start of the process as now."""
        self._began = self.seconds()
        self.pid = os.getpid()

    def uptime(self) -> float:
        """Return for how long the process has run, in seconds."""
        return 0.0 if self._began is None else self.seconds() - self._began

    def failures(self) -> Iterator[str]:
        """Yield why guests cannot be served, one line each; nothing if they can."""
        listeners = [one for each in self.guests for one in each.service.listeners()]
        if not any(one.is_listening for one in listeners):
            yield "devlxd listens nowhere"
        for each in self.guests:
            problem = None if each.documents is None else each.documents.problem()
            if problem is not None:
                yield problem
            elif not each.is_loaded():
                yield "the containers are not all read yet"

    def sources(self) -> Sequence[SourceState]:
        """Return the states of the remote sources of containers."""
        return [state for each in self.guests if (state := each.source) is not None]

    def problems(self) -> Iterator[str]:
        """Yield what an operator should look at, one line each.

        These are the failures, sources that do not answer, endpoints without a
        listener, and faults that keep a document from being used.
        """
        failures = list(self.failures())
        yield from failures
        for source in self.sources():
            if source.problem and source.age is not None:
                yield source_text(source)
        for each in self.guests:
            for one in each.service.listeners():
                if not one.is_listening:
                    yield f"devlxd does not listen at {one.address}"
                elif one.missing:
                    yield f"{one.missing} containers have no socket at {one.address}"
            broken = [fault for fault in each.faults() if fault.breaks]
            yield from map(str, sorted(broken))

# -*- test-case-name: tests.admin.test_records -*-
"""What is remembered of each container: its last question, and its refusals."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping

from attrs import define, field

from devlxd.interfaces import IContainerStore
from devlxd.model import Container, Refusal
from devlxd.observers import NullObserver


@define
class Record:
    """What is remembered of one container.

    :ivar last_question: when it asked last, in nanoseconds since 1970; ``None`` if it
        has not asked.
    :ivar refusals: how often it was refused, by the kind of the refusal.
    """

    last_question: int | None = None
    refusals: Counter[Refusal] = field(factory=Counter)


class Records(NullObserver):
    """An observer of a service that remembers some facts of each container.

    It forgets a container that is removed. There are never more records than
    containers.

    :param store: the containers of the service.
    :param now: returns the time, in nanoseconds since 1970.
    :ivar records: the records by the names of the containers.
    :ivar unidentified: how often callers were refused that were not identified, by the
        kind of the refusal.
    """

    def __init__(
        self, store: IContainerStore, now: Callable[[], int] = time.time_ns
    ) -> None:
        self._store = store
        self.now = now
        self.records: dict[str, Record] = {}
        self.unidentified: Counter[Refusal] = Counter()

    def of(self, container: str) -> Record:
        """Return what is remembered of a container; an empty record if nothing is."""
        return self.records.get(container) or Record()

    def _record(self, container: str) -> Record | None:
        """Return the record to change; ``None`` if the container does not exist."""
        record = self.records.get(container)
        if record is None and self._store.has(container):
            record = self.records[container] = Record()
        return record

    def asked(self, container: str, path: str, code: int) -> None:
        """See `IServiceObserver.asked`."""
        record = self.records.get(container) or self._record(container)
        if record is not None:
            record.last_question = self.now()

    def refused(self, container: str | None, refusal: Refusal, reason: str) -> None:
        """See `IServiceObserver.refused`."""
        if container is None:
            self.unidentified[refusal] += 1
        elif (record := self._record(container)) is not None:
            record.refusals[refusal] += 1

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IServiceObserver.changed`."""
        if new is None:
            self.records.pop(name, None)


def refusals_by_text(refusals: Mapping[Refusal, int]) -> Mapping[str, int]:
    """Return the numbers of refusals by the texts of their kinds."""
    return {refusal.value: count for refusal, count in refusals.items()}

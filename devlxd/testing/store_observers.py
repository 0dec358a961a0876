# -*- test-case-name: tests.containers.test_stores -*-
"""An observer for tests of container stores."""

from __future__ import annotations

from attrs import define, field
from zope.interface import implementer

from devlxd.interfaces import IStoreObserver
from devlxd.model import Container


@implementer(IStoreObserver)
@define
class RecordingStoreObserver:
    """An observer that records the changes that it is notified of.

    :ivar changes: the arguments of each call of `changed`.
    """

    changes: list[tuple[str, Container | None, Container | None]] = field(factory=list)

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IStoreObserver.changed`."""
        self.changes.append((name, old, new))

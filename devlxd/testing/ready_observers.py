# -*- test-case-name: tests.guest_states -*-
"""An observer for tests of guest states."""

from __future__ import annotations

from attrs import define, field
from zope.interface import implementer

from devlxd.interfaces import IReadyObserver
from devlxd.model import GuestState


@implementer(IReadyObserver)
@define(eq=False)
class RecordingReadyObserver:
    """An observer that records the changes of guest states.

    :ivar changes: for each change, the container's name and its new guest state.
    """

    changes: list[tuple[str, GuestState]] = field(factory=list)

    def state_changed(self, container: str, state: GuestState) -> None:
        """See `IReadyObserver.state_changed`."""
        self.changes.append((container, state))

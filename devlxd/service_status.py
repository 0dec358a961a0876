# -*- test-case-name: tests.test_service_status -*-
"""What a guest service says of itself to its operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from attrs import evolve
from twisted.application.service import MultiService
from zope.interface import implementer

from devlxd.each_listener import EachListener
from devlxd.guest_listener import GuestListener
from devlxd.guestapi.gate_explanation import explain_gates
from devlxd.httpserver.registry import ConnectionRegistry
from devlxd.interfaces import (
    ICallerIdentifier,
    IConnection,
    IContainerStore,
    IExplainer,
    IGuestService,
    IGuestStates,
    IJournal,
)
from devlxd.model import Caller, Explanation, Listener, Result, Step

#: The services that listen for guests.
_LISTENERS = (GuestListener, EachListener)


@implementer(IGuestService)
class ServiceStatus(MultiService):
    """The part of a guest service that answers its operator.

    Each answer is computed when it is asked for: guests pay nothing for it. The
    subclass sets the attributes.

    :ivar store: see `IGuestService.store`.
    :ivar states: see `IGuestService.states`.
    """

    store: IContainerStore
    states: IGuestStates
    _identifier: ICallerIdentifier
    _registry: ConnectionRegistry[IConnection]
    _journal: IJournal | None

    def listeners(self) -> Sequence[Listener]:
        """See `IGuestService.listeners`."""
        return [one.listener for one in self if isinstance(one, _LISTENERS)]

    def callers(self) -> Collection[Caller]:
        """See `IGuestService.callers`."""
        callers = (connection.caller for connection in self._registry.all())
        return [caller for caller in callers if isinstance(caller, Caller)]

    def connections(self) -> Mapping[str | None, int]:
        """See `IGuestService.connections`."""
        return {
            owner: count
            for owner, count in self._registry.counts().items()
            if owner is None or isinstance(owner, str)
        }

    def subscribers(self) -> Mapping[str, int]:
        """See `IGuestService.subscribers`."""
        return Counter(
            connection.caller.container
            for connection in self._registry.all()
            if connection.is_endless and isinstance(connection.caller, Caller)
        )

    def journal_bytes(self) -> int:
        """See `IGuestService.journal_bytes`."""
        return 0 if self._journal is None else self._journal.size()

    def explain(self, pid: int) -> Explanation:
        """See `IGuestService.explain`."""
        explainer: IExplainer | None = IExplainer(self._identifier, None)
        if explainer is not None:
            dialects = [one.dialect for one in self if isinstance(one, _LISTENERS)]
            explanation = explain_gates(explainer.explain(pid), self.store, dialects)
            return self._explain_sockets(explanation)
        detail = "the identifier of this devlxd cannot explain itself"
        return Explanation(pid, (Step("identification", Result.SKIPPED, detail),))

    def _explain_sockets(self, explanation: Explanation) -> Explanation:
        """Add which sockets a container has to call, if it has its own ones."""
        container = explanation.container
        if container is None:
            return explanation
        steps = [
            one.explain(container) for one in self if isinstance(one, EachListener)
        ]
        return evolve(explanation, steps=(*explanation.steps, *steps))

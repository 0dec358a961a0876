"""The interfaces for operators: what a running service tells of itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from zope.interface import Attribute, Interface

from devlxd.interfaces.guest_states import IGuestStates
from devlxd.interfaces.stores import IContainerStore
from devlxd.model import Caller, Explanation, Listener


class IExplainer(Interface):
    """An identifier that explains how it identifies processes."""

    def explain(pid: int) -> Explanation:
        """Explain how a process would be identified, if it connected now.

        The checks are those of `ICallerIdentifier.identify`. This changes nothing: a
        container whose run is not known yet is not served because of it.

        :param pid: its process id in the pid namespace of devlxd. The process need not
            exist.
        """


class IGuestService(Interface):
    """The guest API for the containers of one store, as operators see it."""

    store: IContainerStore = Attribute(
        "The store of the containers, which may provide `IDocuments`."
    )

    states: IGuestStates = Attribute("The guest states.")

    def listeners() -> Sequence[Listener]:
        """Return the endpoints for guests; the sockets of all containers are one."""

    def callers() -> Collection[Caller]:
        """Return the caller of each open connection that was identified."""

    def connections() -> Mapping[str | None, int]:
        """Return the number of open connections of each container that has any.

        The key ``None`` has the number of those whose callers were not identified.
        """

    def subscribers() -> Mapping[str, int]:
        """Return the number of subscribers of each container that has any."""

    def journal_bytes() -> int:
        """Return the size of the journal, in bytes; 0 if there is none."""

    def explain(pid: int) -> Explanation:
        """Explain how a process would be identified, and whether it may ask.

        See `IExplainer.explain`. This also has the checks of the gate.
        """

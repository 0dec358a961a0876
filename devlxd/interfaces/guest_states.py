"""The interfaces of guest states: what guests say of themselves."""

from __future__ import annotations

from zope.interface import Interface

from devlxd.model import Caller, GuestState


class IGuestStates(Interface):
    """The guest states of the running containers.

    A guest state belongs to a run of a container. It is `GuestState.STARTED` until a
    caller of that run sets it, and is forgotten when the run ends, or when the
    container is removed. Under ``--assume`` there are no runs, and a guest state
    remains until it is set again.
    """

    def get(caller: Caller) -> GuestState:
        """Return the guest state of the caller's run. Takes constant time."""

    def set(caller: Caller, state: GuestState) -> None:
        """Set the guest state of the caller's run, and notify the observers.

        They are not notified if this is the guest state already. An error while the
        guest state is stored is logged, and not raised.
        """

    def state_of(container: str) -> GuestState:
        """Return the guest state of the container's current run.

        :return: `GuestState.STARTED` also if the container does not run, or does not
            exist.
        """

    def watch(observer: IReadyObserver) -> None:
        """Notify ``observer`` of each change of a guest state from now on.

        An exception that an observer raises is logged, and affects no guest.
        """

    def unwatch(observer: IReadyObserver) -> None:
        """Stop notifying ``observer``.

        :raises ValueError: if ``observer`` is not being notified.
        """


class IReadyObserver(Interface):
    """An observer that is notified when a guest becomes ready, or no longer is."""

    def state_changed(container: str, state: GuestState) -> None:
        """Called when the guest state of a container has changed.

        :param container: the container's name.
        :param state: `GuestState.READY` if the guest has said that it is ready;
            `GuestState.STARTED` if it has taken this back, if its run has ended, or if
            the container was removed.
        """

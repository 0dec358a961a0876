# -*- test-case-name: tests.peers.test_admission -*-
"""Connection -> caller: the identification of each new connection."""

from __future__ import annotations

import select
from collections.abc import Callable, Hashable, Mapping

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, ITransport
from twisted.logger import Logger
from zope.interface import implementer

from devlxd.interfaces import (
    IAdmission,
    ICallerIdentifier,
    IContainerStore,
    IPeerSource,
    IRunIdentifier,
    IServiceObserver,
    NotInContainer,
)
from devlxd.limits import CurrentLimits
from devlxd.log_limit import RateLimitedLogger
from devlxd.model import Caller, Init, JSONValue, Peer, Refusal
from devlxd.observers import NullObserver
from devlxd.store_loading import is_loaded


@implementer(IAdmission)
class CallerAdmission:
    """The identification of callers by the peers of their connections.

    :param store: the containers. While it is not loaded, a caller whose container is
        not in it counts as not identified yet.
    :param identifier: returns the caller of a peer.
    :param peers: returns the peer of a transport.
    :param reactor: for timeouts.
    :param identified: called with the pid and the container's name of each caller.
    :param observer: is notified of connections and refusals.
    :param limits: for how long callers wait until the store is loaded; default: the
        usual time.
    :param called: returns the container whose own socket the peer of a transport has
        called; only its callers are admitted. Default: all have called the same socket.
    """

    _log = Logger()

    def __init__(
        self,
        store: IContainerStore,
        identifier: ICallerIdentifier,
        peers: IPeerSource,
        reactor: IReactorTime,
        identified: Callable[[Hashable, Hashable], None],
        observer: IServiceObserver | None = None,
        limits: CurrentLimits | None = None,
        called: Callable[[ITransport], str | None] | None = None,
    ) -> None:
        self._store = store
        self._identifier = identifier
        self._peers = peers
        self._reactor = reactor
        self._identified = identified
        self._observer = observer or NullObserver()
        self._limits = limits or CurrentLimits()
        self._called = called
        self._limited_log = RateLimitedLogger(self._log, reactor, self._limits)

    def stop(self) -> None:
        """Log the numbers of suppressed lines; call this when no peer is connected."""
        self._limited_log.stop()

    def identify(self, transport: ITransport, is_retry: bool = False) -> Caller | None:
        """See `IAdmission.identify`.

        While the store is not loaded, the first attempt reports neither a refusal nor
        a caller whose container is not in the store yet: the second attempt does.
        """
        try:
            with self._peers.open_peer(transport) as peer:
                caller = self._identifier.identify(peer)
                self._identified(peer.pid, caller.container)
                self._check_socket(transport, caller, peer)
        except NotInContainer as refused:
            if is_retry or is_loaded(self._store):
                self._refuse(refused)
            return None
        except Exception:
            self._log.failure(
                "a peer could not be identified; its requests are refused"
            )
            self._observer.refused(
                None, Refusal.NOT_IN_CONTAINER, "its identification has failed"
            )
            return None
        is_missing = not is_retry and self._store.get(caller.container) is None
        if is_missing and not is_loaded(self._store):
            return None
        self._observer.connected(caller)
        return caller

    def _check_socket(self, transport: ITransport, caller: Caller, peer: Peer) -> None:
        """Check that a caller has called the socket of its own container.

        :raises NotInContainer: if it has called that of another one.
        """
        called = self._called_by(transport, caller)
        if called != caller.container:
            raise NotInContainer(
                f"pid {peer.pid} (uid {peer.uid}): it is in {caller.container}, but "
                f"has called the socket of {called}",
                (caller.container, "socket of another container"),
                {
                    "pid": peer.pid,
                    "uid": peer.uid,
                    "container": caller.container,
                    "called": str(called),
                },
            )

    def _called_by(self, transport: ITransport, caller: Caller) -> str | None:
        """Return the container whose socket was called; its own if all have one."""
        return caller.container if self._called is None else self._called(transport)

    def _refuse(self, refused: NotInContainer) -> None:
        self._limited_log.warn(
            "not in a container: {reason}",
            of=("not identified", refused.kind),
            reason=str(refused),
            **{name.replace(" ", "_"): fact for name, fact in refused.facts.items()},
        )
        self._observer.refused(
            None, Refusal.NOT_IN_CONTAINER, f"not in a container: {refused}"
        )

    def record_of(self, caller: object) -> Mapping[str, JSONValue]:
        """See `IAdmission.record_of`."""
        assert isinstance(caller, Caller)
        init = caller.init
        return {
            "container": caller.container,
            "uid": caller.uid,
            "init": [init.pid, init.started, init.boot] if init is not None else None,
        }

    def recorded_owner(self, record: Mapping[str, JSONValue]) -> str | None:
        """See `IAdmission.recorded_owner`."""
        container = record.get("container")
        return container if isinstance(container, str) else None

    def recognize(
        self, transport: ITransport, record: Mapping[str, JSONValue]
    ) -> Caller | None:
        """See `IAdmission.recognize`.

        A peer that has ended meanwhile cannot be identified: then the run must be
        the same, and the uid is that of the record. Another process, such as its
        child, uses the connection.
        """
        try:
            recorded = _caller_in(record)
            caller = self._identify_again(transport, recorded)
        except (ValueError, NotInContainer):
            return None
        except Exception:
            self._log.failure(
                "the caller of a connection of the last process could not be "
                "identified; the connection is closed"
            )
            return None
        if caller.container != recorded.container or caller.init != recorded.init:
            return None
        if self._called_by(transport, caller) != caller.container:
            return None
        self._observer.connected(caller)
        return caller

    def _identify_again(self, transport: ITransport, recorded: Caller) -> Caller:
        """Identify a caller by its peer, or by its run if the peer has ended."""
        has_peer = False
        try:
            with self._peers.open_peer(transport) as peer:
                has_peer = peer.pidfd is None or not _has_ended(peer.pidfd)
                return self._identifier.identify(peer)
        except NotInContainer:
            identifier = IRunIdentifier(self._identifier, None)
            if has_peer or identifier is None or recorded.init is None:
                raise
        return evolve(identifier.caller_of(recorded.init), uid=recorded.uid)

    def when_loaded(self) -> Deferred[None] | None:
        """See `IAdmission.when_loaded`."""
        return None if is_loaded(self._store) else self._store.loaded()

    def owner(self, caller: object | None) -> str | None:
        """See `IAdmission.owner`: the container's name, ``None`` without a caller."""
        return caller.container if isinstance(caller, Caller) else None

    def refused(self, owner: Hashable) -> None:
        """See `IAdmission.refused`."""
        self._limited_log.warn(
            "too many connections of {container}; a new one is closed",
            of=("too many connections", owner),
            container=owner,
        )
        name = owner if isinstance(owner, str) else None
        self._observer.refused(
            name, Refusal.TOO_MANY_CONNECTIONS, "too many connections"
        )

    def when_ready(self) -> Deferred[None] | None:
        """See `IAdmission.when_ready`.

        The Deferred fires when the store is loaded, or after the limit
        ``loading_timeout``.
        """
        loaded = self._store.loaded()
        if loaded.called:
            return None
        return loaded.addTimeout(
            self._limits.value.loading_timeout,
            self._reactor,
            onTimeoutCancel=lambda *_: None,
        )


def _has_ended(pidfd: int) -> bool:
    """Return whether a process has ended: its pidfd is readable (``pidfd_open(2)``)."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _caller_in(record: Mapping[str, JSONValue]) -> Caller:
    """Return the caller of a record, see `CallerAdmission.record_of`.

    :raises ValueError: if the record is malformed.
    """
    container, uid = record.get("container"), record.get("uid")
    if not isinstance(container, str) or not isinstance(uid, (int, type(None))):
        raise ValueError("malformed caller")
    return Caller(container, uid, init=_init_in(record))


def _init_in(record: Mapping[str, JSONValue]) -> Init | None:
    match record.get("init"):
        case None:
            return None
        case [int(pid), int(started), str(boot)]:
            return Init(pid, started, boot)
        case _:
            raise ValueError("malformed init")

# -*- test-case-name: tests.etcd.test_memory_etcd -*-
"""An etcd in memory, and its members."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from devlxd.etcd.errors import UNAVAILABLE, EtcdError, TooLargeError
from devlxd.etcd.interfaces import IEtcdGateway, IWatch, IWatchReceiver
from devlxd.etcd.messages import (
    KeyRange,
    RangeAnswer,
    RangeRequest,
    WatchEvent,
    WatchLine,
)
from devlxd.testing.etcd_history import EtcdHistory, EtcdSnapshot, size_of

#: The length of a line of a watch, in bytes, to which no more revisions are added.
_LINE_SIZE = 1024 * 1024


class MemoryEtcd(EtcdHistory):
    """An etcd in memory: keys, revisions, and members that may fail.

    :ivar members: the members.
    :param reactor: for what members send later, and for timeouts.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        super().__init__()
        self.reactor = reactor
        self.members: list[MemoryEtcdGateway] = []

    def member(self, endpoint: str = "memory:1") -> MemoryEtcdGateway:
        """Return a new member."""
        member = MemoryEtcdGateway(self, endpoint)
        self.members.append(member)
        return member

    def transaction(self, changes: Mapping[str, str | bytes | None]) -> None:
        """Put and remove keys in one revision, and tell the members."""
        before = self.revision
        super().transaction(changes)
        if self.revision > before:
            for member in self.members:
                member.changed(self.revision)

    def restore(self, snapshot: EtcdSnapshot | None = None) -> None:
        """Restart with another content; default: with nothing. The ids stay."""
        for member in self.members:
            member.cut()
        super().restore(snapshot)


@implementer(IEtcdGateway)
class MemoryEtcdGateway:
    """A member of an etcd in memory.

    :ivar endpoint: its address, for people.
    :ivar requests: the requests for keys that were received.
    :ivar watches: the watches that have not ended.
    :ivar loses: whether the events of the next revisions are not sent to watches.
    """

    def __init__(self, etcd: MemoryEtcd, endpoint: str) -> None:
        self.etcd = etcd
        self.endpoint = endpoint
        self.requests: list[RangeRequest] = []
        self.watches: list[_MemoryWatch] = []
        self.loses = False
        self._problem: EtcdError | None = None
        self._hangs = False

    def fail(self, text: str, code: int | None = UNAVAILABLE) -> None:
        """End all watches, and answer every request with an error, until `recover`."""
        self._problem = EtcdError(text, code)
        self.cut()

    def hang(self) -> None:
        """Send nothing any more, until `recover`."""
        self._hangs = True

    def recover(self) -> None:
        """Answer again. Watches of a member that was hanging go on."""
        self._problem, self._hangs = None, False
        for watch in list(self.watches):
            watch.send()

    def cut(self) -> None:
        """End all watches."""
        watches, self.watches = self.watches, []
        for watch in watches:
            watch.end(EtcdError("the connection was cut"))

    def range(
        self, request: RangeRequest, max_size: int, timeout: float
    ) -> Deferred[RangeAnswer]:
        """See `IEtcdGateway.range`."""
        self.requests.append(request)
        if self._hangs:
            waiting = Deferred[RangeAnswer]()
            return waiting.addTimeout(timeout, self.etcd.reactor, _no_answer)
        if self._problem is not None:
            return fail(self._problem)
        try:
            answer = self.etcd.answer(request)
        except EtcdError as error:
            return fail(error)
        if answer.size > max_size:
            return fail(TooLargeError(f"the answer is longer than {max_size} bytes"))
        return succeed(answer)

    def watch(
        self,
        keys: KeyRange,
        start_revision: int,
        max_size: int,
        receiver: IWatchReceiver,
    ) -> IWatch:
        """See `IEtcdGateway.watch`."""
        watch = _MemoryWatch(self, keys, start_revision, max_size, receiver)
        self.watches.append(watch)
        self.etcd.reactor.callLater(0, self._begin, watch)
        return watch

    def _begin(self, watch: _MemoryWatch) -> None:
        if self._problem is not None and watch in self.watches:
            self.watches.remove(watch)
            watch.end(self._problem)
        watch.send()

    def changed(self, revision: int) -> None:
        """Send a new revision to the watches."""
        for watch in list(self.watches):
            if self.loses:
                watch.skip(revision)
            watch.send()

    @property
    def is_sending(self) -> bool:
        """Whether watches receive anything."""
        return self._problem is None and not self._hangs

    def close(self) -> Deferred[None]:
        """See `IEtcdGateway.close`."""
        return succeed(None)


@implementer(IWatch)
class _MemoryWatch:
    """A watch at a member in memory."""

    def __init__(
        self,
        member: MemoryEtcdGateway,
        keys: KeyRange,
        start_revision: int,
        max_size: int,
        receiver: IWatchReceiver,
    ) -> None:
        self._member = member
        self._keys = keys
        self._next = start_revision
        self._max_size = max_size
        self._receiver = receiver
        self._received = 0
        self._is_created = self._is_paused = self._has_ended = False

    def send(self) -> None:
        """Send what is due: one line, with the events of all revisions."""
        etcd = self._member.etcd
        if not self._may_send():
            return
        if not self._is_created:
            self._is_created = True
            self._receiver.received(WatchLine(is_created=True))
        compacted = etcd.compacted_after(self._next)
        if compacted:
            line = WatchLine(is_canceled=True, compact_revision=compacted)
            self._receiver.received(line)
            return
        while self._next <= etcd.revision and self._may_send():
            self._send_line()

    def _may_send(self) -> bool:
        is_held = self._has_ended or self._is_paused
        return self._member.is_sending and not is_held

    def _send_line(self) -> None:
        """Send the events of some revisions."""
        etcd, events, size = self._member.etcd, list[WatchEvent](), 0
        while self._next <= etcd.revision and size < _LINE_SIZE:
            for event in etcd.events(self._next, self._next):
                if self._keys.start <= event.kv.key < self._keys.end:
                    events.append(event)
                    size += size_of(event.kv)
            self._next += 1
        self._received += size
        if size > self._max_size:
            self.end(TooLargeError(f"a line is longer than {self._max_size} bytes"))
        elif events:
            self._receiver.received(WatchLine(tuple(events)))

    def skip(self, revision: int) -> None:
        """Do not send the events of a revision."""
        self._next = max(self._next, revision + 1)

    def end(self, error: EtcdError) -> None:
        """End with an error."""
        if not self._has_ended:
            self._has_ended = True
            self._receiver.ended(error)

    def received_bytes(self) -> int:
        """See `IWatch.received_bytes`."""
        return self._received

    def pause(self) -> None:
        """See `IWatch.pause`."""
        self._is_paused = True

    def resume(self) -> None:
        """See `IWatch.resume`."""
        self._is_paused = False
        self.send()

    def stop(self) -> None:
        """See `IWatch.stop`."""
        self._has_ended = True
        if self in self._member.watches:
            self._member.watches.remove(self)


def _no_answer(result: object, seconds: float) -> RangeAnswer:
    raise EtcdError(f"no answer within {seconds:g} s")

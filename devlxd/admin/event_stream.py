# -*- test-case-name: tests.admin.test_event_stream -*-
"""``/events``: what happens, as it happens, one JSON object on each line."""

from __future__ import annotations

from collections import deque

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from devlxd.admin.event_feed import EventFeed
from devlxd.admin.request import AdminRequest
from devlxd.admin.resource import AdminResource
from devlxd.admin.responses import AdminResponse

#: The media type: newline-delimited JSON.
NDJSON = "application/x-ndjson"

#: How many lines a follower may be behind. Later ones are counted, not sent.
MAX_QUEUED = 1000

#: After how many seconds without a line an empty line is sent.
KEEP_ALIVE = 30


@implementer(IPushProducer)
class EventStream:
    """The response to one follower.

    :param request: the request, whose response has begun.
    :param feed: the source of the lines.
    :param reactor: for the empty lines.
    :param has_questions: whether to send questions too.
    """

    def __init__(
        self,
        request: AdminRequest,
        feed: EventFeed,
        reactor: IReactorTime,
        has_questions: bool,
    ) -> None:
        self._request = request
        self._feed = feed
        self._reactor = reactor
        self.has_questions = has_questions
        self._is_paused = False
        self._queued: deque[bytes] = deque()
        self._skipped = 0
        self._keep_alive: IDelayedCall | None = None

    def start(self) -> None:
        """Begin to send the events that happen from now on."""
        self._request.registerProducer(self, True)
        self._request.notifyFinish().addBoth(lambda _: self.stopProducing())
        self._keep_alive = self._reactor.callLater(KEEP_ALIVE, self._send_empty)
        self._feed.add(self)

    def receive(self, line: bytes) -> None:
        """Send a line, now or when the follower reads again."""
        if not self._is_paused:
            self._write(line)
        elif len(self._queued) < MAX_QUEUED:
            self._queued.append(line)
        else:
            self._skipped += 1

    def _write(self, line: bytes) -> None:
        self._request.write(line)
        if self._keep_alive is not None:
            self._keep_alive.reset(KEEP_ALIVE)

    def _send_empty(self) -> None:
        self._keep_alive = self._reactor.callLater(KEEP_ALIVE, self._send_empty)
        if not self._is_paused:
            self._request.write(b"\n")

    def pauseProducing(self) -> None:
        """See `IPushProducer.pauseProducing`: the follower does not read."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """See `IPushProducer.resumeProducing`: send what is queued."""
        self._is_paused = False
        while self._queued and not self._is_paused:
            self._write(self._queued.popleft())
        if self._skipped and not self._is_paused:
            skipped, self._skipped = self._skipped, 0
            self._write(self._feed.line("skipped", None, {"count": skipped}))

    def stopProducing(self) -> None:
        """See `IProducer.stopProducing`: the connection is closed."""
        self._feed.remove(self)
        if self._keep_alive is not None:
            self._keep_alive.cancel()
            self._keep_alive = None

    def end(self) -> None:
        """End the response: devlxd stops."""
        self._request.unregisterProducer()
        self._request.finish()


class EventsResource(AdminResource):
    """``/events``; with ``?asked=1`` also the questions of guests."""

    def __init__(self, feed: EventFeed, reactor: IReactorTime) -> None:
        self._feed = feed
        self._reactor = reactor

    def respond(self, request: AdminRequest) -> AdminResponse | None:
        """See `AdminResource.respond`."""
        if request.method == b"HEAD":
            return AdminResponse(b"", NDJSON)
        request.begin(NDJSON)
        # This sends the head.
        request.write(b"")
        has_questions = request.argument("asked") == "1"
        EventStream(request, self._feed, self._reactor, has_questions).start()
        return None

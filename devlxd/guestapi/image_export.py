# -*- test-case-name: tests.guestapi.test_image_export -*-
"""``/1.0/images/FINGERPRINT/export``: an image of the host.

What is not there and what is not for guests get one and the same answer, and
get it at the same time: nobody finds out what the host has.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from time import sleep
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.web import http
from twisted.web.server import NOT_DONE_YET

from devlxd.booleans import is_true
from devlxd.guestapi.base import GuestResource
from devlxd.guestapi.dialects import Dialect
from devlxd.guestapi.image_body import ImageBody, body_of
from devlxd.guestapi.responses import Headers, Response, ResponseCache, refusal
from devlxd.httpserver.paced_body import PacedBody
from devlxd.httpserver.ranges import UnsatisfiableError, range_of
from devlxd.interfaces import IDevLXDReactor, IImageStore, ImageError, IOpenImage
from devlxd.loglimit import RateLimitedLogger
from devlxd.model import Container, Image, is_fingerprint

if TYPE_CHECKING:
    from devlxd.httpserver.request import GuestRequest

#: How many downloads one container may have at a time.
MAX_DOWNLOADS = 4

#: After how long a container that has too many may ask again, in seconds.
RETRY_AFTER = 10

#: How long it takes until a guest hears that there is no such image, in
#: seconds: longer than it takes to find out why.
MISS_DELAY = 0.1

#: For how much of that a thread waits, in seconds.
LEAD = 0.002

#: How much of an image is in memory for each download, in bytes. With more it
#: is not faster.
PIECE = 128 * 1024

#: For how long a guest may stop to read an image, in seconds: its disk may
#: be slow.
STALL_TIMEOUT = 300

_PATH = re.compile(rb"/1\.0/images/([^/]+)/export")

#: How much of a list of entity tags is looked at, in bytes.
MAX_TAGS = 4096

#: An entity tag, or ``*`` for any (RFC 9110, 8.8.3).
_TAG = re.compile(rb'(?:W/)?"[^"]*"|\*')

_TOO_MANY = refusal(
    HTTPStatus.TOO_MANY_REQUESTS,
    "too many downloads",
    headers=((b"Retry-After", b"%d" % RETRY_AFTER),),
)

_PRECONDITION_FAILED = refusal(http.PRECONDITION_FAILED, "precondition failed")

_BAD_GATEWAY = refusal(http.BAD_GATEWAY, "bad gateway")


class Downloads:
    """The images that guests may have, and how many of them are on their way.

    :param store: where they come from.
    :param reactor: for the time, and its threads.
    :param most: how many downloads one container may have at a time.
    """

    _log = Logger()

    def __init__(
        self, store: IImageStore, reactor: IDevLXDReactor, most: int = MAX_DOWNLOADS
    ) -> None:
        self.store = store
        self.reactor = reactor
        self._most = most
        self._running: Counter[str] = Counter()
        self._limited_log = RateLimitedLogger(self._log, reactor)

    def begin(self, container: str) -> bool:
        """Count a download in, unless the container has too many."""
        if self._running[container] >= self._most:
            return False
        self._running[container] += 1
        return True

    def end(self, container: str) -> None:
        """Count a download out."""
        self._running[container] -= 1
        if not self._running[container]:
            del self._running[container]

    def log_failure(self, fingerprint: str, error: ImageError) -> None:
        """Log why an image cannot be had."""
        self._limited_log.warn(
            "image {fingerprint}: {reason}",
            of=fingerprint,
            fingerprint=fingerprint,
            reason=str(error),
        )


class ImageExport(GuestResource):
    """All that is below ``/1.0/images``."""

    isLeaf = True

    def __init__(
        self, dialect: Dialect, cache: ResponseCache, downloads: Downloads
    ) -> None:
        super().__init__(dialect, cache)
        self._downloads = downloads
        self._not_authorized = refusal(http.FORBIDDEN, dialect.not_authorized)

    def render(self, request: GuestRequest) -> int:
        """Begin a download, unless there is something to say against it."""
        match = _PATH.fullmatch(request.path)
        if match is None:
            request.send(self.not_found)
        elif request.method not in self.methods:
            super().render(request)
        elif not self._is_switched_on(request.container):
            request.send(self._not_authorized)
        else:
            self._download(request, _fingerprint_in(match[1]))
        return NOT_DONE_YET

    def _is_switched_on(self, container: Container) -> bool:
        return is_true(container.config.get(f"{self.dialect.permissions}.images", ""))

    def _download(self, request: GuestRequest, fingerprint: str) -> None:
        if not is_fingerprint(fingerprint):
            request.send(self.not_found)
        elif not self._downloads.begin(request.container.name):
            request.send(_TOO_MANY)
        else:
            exporting = Deferred.fromCoroutine(self._export(request, fingerprint))
            exporting.addErrback(request.fail)

    async def _export(self, request: GuestRequest, fingerprint: str) -> None:
        container = request.container.name
        try:
            with PacedBody(request, PIECE, STALL_TIMEOUT) as paced:
                await self._answer(request, paced, fingerprint)
        except ImageError as error:
            self._downloads.log_failure(fingerprint, error)
            request.break_off(_BAD_GATEWAY)
        finally:
            self._downloads.end(container)

    async def _answer(
        self, request: GuestRequest, paced: PacedBody, fingerprint: str
    ) -> None:
        reactor = self._downloads.reactor
        missed_at = reactor.seconds() + MISS_DELAY
        opened = await self._downloads.store.open(fingerprint)
        if opened is None:
            await _wait_until(missed_at, reactor)
            if not request.is_gone:
                request.send(self.not_found)
            return
        try:
            if not request.is_gone:
                await _send(request, paced, opened)
        finally:
            opened.close()


async def _wait_until(at: float, reactor: IDevLXDReactor) -> None:
    """Wait for a time, and leave no trace of what was done until now.

    The reactor waits for whole milliseconds from when it was last busy. How
    long it was would show in the last digits; a thread waits for the rest.
    """
    # Whatever somebody does to the clock.
    left = min(max(at - LEAD - reactor.seconds(), 0), MISS_DELAY)
    await deferLater(reactor, left)
    left = min(max(at - reactor.seconds(), 0), LEAD)
    await deferToThreadPool(reactor, reactor.getThreadPool(), sleep, left)


def _fingerprint_in(segment: bytes) -> str:
    """Return the fingerprint that a segment of a path may be."""
    return unquote_to_bytes(segment).decode("latin-1").lower()


async def _send(request: GuestRequest, paced: PacedBody, opened: IOpenImage) -> None:
    """Send what is asked for of an open image."""
    body = body_of(opened)
    # Nothing is from later than now.
    modified = min(opened.image.modified, int(request.site.wall()))
    validators = _validators_of(opened.image, modified)
    if not _is_meant(request, validators[b"ETag"], modified):
        request.send(_PRECONDITION_FAILED)
        return
    if _has_it(request, validators):
        request.begin(http.NOT_MODIFIED, (*validators.items(), request.site.date()))
        request.finish()
        return
    try:
        part = _part_of(request, body, validators)
    except UnsatisfiableError:
        request.send(_not_satisfiable(body.size))
        return
    start, end = part or (0, body.size)
    length: Headers = ((b"Content-Length", b"%d" % (end - start)),)
    if part is not None:
        length += ((b"Content-Range", b"bytes %d-%d/%d" % (start, end - 1, body.size)),)
    headers = (*body.headers, *validators.items(), *length, request.site.date())
    request.begin(http.PARTIAL_CONTENT if part else http.OK, headers)
    if request.method == b"HEAD":
        request.finish()
    else:
        await paced.send(start, end, body.read)


def _validators_of(image: Image, modified: int) -> dict[bytes, bytes]:
    """Return the headers that tell one image from another (RFC 9110, 8.8)."""
    return {
        b"ETag": b'"%b"' % image.fingerprint.encode("ascii"),
        b"Last-Modified": http.datetimeToString(modified),
    }


# Conditions: RFC 9110, 13.1; entity tags go before dates, 13.2.2. Twisted's
# `Request.setETag` does not know lists of tags. Who has the image is, as with
# nginx, who says the very date that was told.


def _tags(request: GuestRequest, header: bytes) -> list[bytes] | None:
    """Return the entity tags in a header; ``None`` where there is no such header."""
    values = request.requestHeaders.getRawHeaders(header)
    return None if values is None else _TAG.findall(b",".join(values)[:MAX_TAGS])


def _is_meant(request: GuestRequest, etag: bytes, modified: int) -> bool:
    """Tell whether the image is the one that the guest wants, if it says so."""
    tags = _tags(request, b"if-match")
    if tags is not None:
        return b"*" in tags or etag in tags
    try:
        since: int = http.stringToDatetime(
            request.getHeader(b"if-unmodified-since") or b""
        )
    except (ValueError, LookupError):
        # What is no date is no condition: RFC 9110, 13.1.4.
        return True
    return modified <= since


def _has_it(request: GuestRequest, validators: Mapping[bytes, bytes]) -> bool:
    """Tell whether the guest says that it has the image."""
    tags = _tags(request, b"if-none-match")
    if tags is None:
        since = request.getHeader(b"if-modified-since")
        return since == validators[b"Last-Modified"]
    etag = validators[b"ETag"]
    return b"*" in tags or etag in [tag.removeprefix(b"W/") for tag in tags]


def _part_of(
    request: GuestRequest, body: ImageBody, validators: Mapping[bytes, bytes]
) -> tuple[int, int] | None:
    """Return where what is asked for begins and ends; ``None`` for all of it.

    :raises UnsatisfiableError: when there is nothing there.
    """
    condition = request.getHeader(b"if-range")
    is_part = condition is None or condition in validators.values()
    if request.method == b"HEAD" or not is_part or not body.is_seekable:
        return None
    return range_of(request.getHeader(b"range"), body.size)


def _not_satisfiable(size: int) -> Response:
    content_range = (b"Content-Range", b"bytes */%d" % size)
    return refusal(
        http.REQUESTED_RANGE_NOT_SATISFIABLE,
        "range not satisfiable",
        headers=(content_range,),
    )

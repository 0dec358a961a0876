# -*- test-case-name: tests.guestapi.test_image_export -*-
"""Conditional requests (RFC 9110, 13).

Entity tags take precedence over dates (13.2.2). Twisted's `Request.setETag` is not
used: it does not split lists of tags at commas. As in nginx, ``If-Modified-Since`` must
be exactly the date that was sent as ``Last-Modified``.
"""

from __future__ import annotations

import re

from attrs import frozen
from twisted.web import http
from twisted.web.http import Request

from devlxd.httpserver.ranges import range_of
from devlxd.httpserver.responses import Headers, refusal

#: How much of a list of entity tags is read, in bytes; the rest is ignored.
MAX_TAGS = 4096

#: An entity tag, or ``*`` for any (RFC 9110, 8.8.3).
_TAG = re.compile(rb'(?:W/)?"[^"]*"|\*')

PRECONDITION_FAILED = refusal(http.PRECONDITION_FAILED, "precondition failed")


@frozen
class Validators:
    """The validators of a representation (RFC 9110, 8.8).

    :ivar etag: the strong entity tag, with its quotes.
    :ivar modified: the time of the last modification, in seconds since 1970.
    """

    etag: bytes
    modified: int

    @property
    def last_modified(self) -> bytes:
        """The value of ``Last-Modified``."""
        rendered: bytes = http.datetimeToString(self.modified)
        return rendered

    @property
    def headers(self) -> Headers:
        """The headers with these validators."""
        return ((b"ETag", self.etag), (b"Last-Modified", self.last_modified))


def _tags(request: Request, header: bytes) -> list[bytes] | None:
    """Return the entity tags in a header; ``None`` if the header was not sent."""
    values = request.requestHeaders.getRawHeaders(header)
    return None if values is None else _TAG.findall(b",".join(values)[:MAX_TAGS])


def precondition_holds(request: Request, validators: Validators) -> bool:
    """Return whether ``If-Match``, or else ``If-Unmodified-Since``, holds.

    :return: ``True`` also if neither was sent.
    """
    tags = _tags(request, b"if-match")
    if tags is not None:
        return b"*" in tags or validators.etag in tags
    try:
        since: int = http.stringToDatetime(
            request.getHeader(b"if-unmodified-since") or b""
        )
    except (ValueError, LookupError):
        # An invalid date is ignored: RFC 9110, 13.1.4.
        return True
    return validators.modified <= since


def is_not_modified(request: Request, validators: Validators) -> bool:
    """Return whether the client already has the current representation."""
    tags = _tags(request, b"if-none-match")
    if tags is None:
        since: bytes | None = request.getHeader(b"if-modified-since")
        return since == validators.last_modified
    return b"*" in tags or validators.etag in [tag.removeprefix(b"W/") for tag in tags]


def requested_range(
    request: Request, size: int, validators: Validators
) -> tuple[int, int] | None:
    """Return the requested range of a body.

    :param size: the length of the body, in bytes.
    :return: the offset of the first byte, and the offset after the last byte;
        ``None`` for the whole body, also if ``If-Range`` does not match.
    :raises UnsatisfiableError: if no byte of the body is in the range.
    """
    condition = request.getHeader(b"if-range")
    holds = condition in (None, validators.etag, validators.last_modified)
    if request.method == b"HEAD" or not holds:
        return None
    return range_of(request.getHeader(b"range"), size)

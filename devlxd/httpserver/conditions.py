# -*- test-case-name: tests.httpserver.test_conditions -*-
"""Conditional requests (RFC 9110, 13).

Entity tags take precedence over dates (13.2.2). Twisted's `Request.setETag` is not
used: it does not split lists of tags at commas. As in nginx, ``If-Modified-Since`` must
be exactly the date that was sent as ``Last-Modified``.
"""

from __future__ import annotations

import re

from attrs import evolve, frozen
from twisted.web import http
from twisted.web.http import Request

from devlxd.httpserver.ranges import range_of
from devlxd.httpserver.responses import Headers, Response, refusal

#: How much of a list of entity tags is read, in bytes; the rest is ignored.
MAX_TAGS = 4096

#: An entity tag in a list (RFC 9110, 5.6.1 and 8.8.3).
_TAG = re.compile(rb'(?:^|,)[ \t]*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")[ \t]*(?=,|$)')

#: The value of a header that stands for any entity tag.
_ANY = b"*"

_PRECONDITION_FAILED = refusal(http.PRECONDITION_FAILED, "precondition failed")


@frozen
class Validators:
    """The validators of a representation (RFC 9110, 8.8).

    :ivar etag: the strong entity tag, with its quotes.
    :ivar modified: the time of the last modification, in seconds since 1970; ``None``
        if it is not known. Conditions with dates are ignored then.
    """

    etag: bytes
    modified: int | None = None

    @property
    def last_modified(self) -> bytes | None:
        """The value of ``Last-Modified``, if there is one."""
        if self.modified is None:
            return None
        rendered: bytes = http.datetimeToString(self.modified)
        return rendered

    @property
    def headers(self) -> Headers:
        """The headers with these validators."""
        headers: Headers = ((b"ETag", self.etag),)
        if self.last_modified is not None:
            headers += ((b"Last-Modified", self.last_modified),)
        return headers


def _tags(request: Request, header: bytes) -> list[bytes] | None:
    """Return the entity tags in a header.

    :return: ``[b"*"]`` for any; ``None`` if the header was not sent.
    """
    values = request.requestHeaders.getRawHeaders(header)
    if values is None:
        return None
    value = b",".join(values)[:MAX_TAGS]
    return [_ANY] if value.strip(b" \t") == _ANY else _TAG.findall(value)


def _precondition_holds(request: Request, validators: Validators) -> bool:
    """Return whether ``If-Match``, or else ``If-Unmodified-Since``, holds.

    :return: ``True`` also if neither was sent.
    """
    tags = _tags(request, b"if-match")
    if tags is not None:
        return _ANY in tags or validators.etag in tags
    if validators.modified is None:
        return True
    try:
        since: int = http.stringToDatetime(
            request.getHeader(b"if-unmodified-since") or b""
        )
    except (ValueError, LookupError):
        # An invalid date is ignored: RFC 9110, 13.1.4.
        return True
    return validators.modified <= since


def _is_not_modified(request: Request, validators: Validators) -> bool:
    """Return whether the client already has the current representation."""
    tags = _tags(request, b"if-none-match")
    if tags is None:
        if validators.modified is None:
            return False
        since: bytes | None = request.getHeader(b"if-modified-since")
        return since == validators.last_modified
    return _ANY in tags or validators.etag in [tag.removeprefix(b"W/") for tag in tags]


def refused_condition(request: Request, validators: Validators) -> Response | None:
    """Return the 412 or 304 to a request whose conditions do not hold.

    :param validators: those of the response to GET or HEAD without conditions.
    :return: ``None`` if the conditions hold.
    """
    if not _precondition_holds(request, validators):
        return _PRECONDITION_FAILED
    if _is_not_modified(request, validators):
        return Response(http.NOT_MODIFIED, validators.headers, b"")
    return None


def refused_change(request: Request, response: Response) -> Response | None:
    """Return the 412 to a request for a change whose conditions do not hold.

    :param response: the response to GET at present.
    :return: ``None`` if the conditions hold.
    """
    etag = response.etag.value if response.etag is not None else None
    if etag is None:
        return None
    refused = refused_condition(request, Validators(etag))
    return None if refused is None else _PRECONDITION_FAILED


def under_conditions(request: Request, response: Response) -> tuple[Response, Headers]:
    """Apply the conditions of a request to its whole response.

    :param response: the response without conditions.
    :return: the response to send: ``response``, or the 304 or 412 of a condition that
        does not hold; and the headers to add to it.
    """
    etag = response.etag.value if response.etag is not None else None
    if etag is None or request.method not in (b"GET", b"HEAD"):
        return response, ()
    sent = request.requestHeaders
    if sent.hasHeader(b"If-None-Match") or sent.hasHeader(b"If-Match"):
        refused = refused_condition(request, Validators(etag))
        if refused is not None:
            return evolve(refused, closes=response.closes), ()
    return response, ((b"ETag", etag),)


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

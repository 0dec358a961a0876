# -*- test-case-name: tests.httpserver.test_site -*-
"""Details of HTTP's grammar in which Twisted is too lenient or too strict."""

from __future__ import annotations

import re

from twisted.web.http import Request

#: How many pieces the body of a request may have.
MAX_PIECES = 256

#: How long the name of a header may be, in bytes. Twisted keeps a cache of all names
#: that it has seen.
MAX_NAME = 64

#: How many bytes the value of Content-Length may have.
MAX_LENGTH_DIGITS = 18

#: ``http://HOST/PATH?QUERY``; everything after ``http://HOST`` is a group.
_ABSOLUTE_FORM = re.compile(rb"http://[^/?]*(.*)", re.IGNORECASE | re.DOTALL)


class BodyTooLargeError(Exception):
    """Raised when the body of a request is too long."""


def with_ascii_target(line: bytes) -> bytes:
    """Percent-encode the bytes of a request line that are not ASCII.

    ``curl`` sends a URL as it was typed, perhaps in UTF-8, which Twisted refuses.
    """
    if line.isascii():
        return line
    return b"".join(b"%c" % byte if byte < 128 else b"%%%02X" % byte for byte in line)


def is_bounded_header(line: bytes) -> bool:
    """Return whether the parts of a header are within their limits.

    The limits are `MAX_NAME` for the name, and `MAX_LENGTH_DIGITS` for the value of
    ``Content-Length``.
    """
    name, _, value = line.partition(b":")
    is_length = name.lower() == b"content-length"
    return len(name) <= MAX_NAME and not (is_length and len(value) > MAX_LENGTH_DIGITS)


def tokens_of(request: Request, header: bytes) -> list[bytes]:
    """Return the tokens in a header that contains a list of them, in lower case.

    The list may be spread over several header lines (RFC 9110, 5.3 and 5.6.1).
    """
    values = request.requestHeaders.getRawHeaders(header, [])
    return [token.strip(b" \t").lower() for token in b",".join(values).split(b",")]


def origin_form(target: bytes) -> bytes:
    """Return the path and query of a request target (RFC 9112, 3.2).

    A client that is configured to use a proxy sends ``http://host/path``. The host is
    ignored.
    """
    match = _ABSOLUTE_FORM.fullmatch(target)
    return b"/" + match[1].removeprefix(b"/") if match else target

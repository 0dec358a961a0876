# -*- test-case-name: tests.admin.test_site -*-
"""The responses of the operator's socket."""

from __future__ import annotations

import json

from attrs import field, frozen
from twisted.web import http

#: The media types of responses.
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


@frozen
class AdminResponse:
    """A whole response.

    :ivar body: the body, which is not sent to ``HEAD``.
    :ivar content_type: the media type of the body.
    :ivar code: the status code.
    :ivar headers: further headers: pairs of a name and a value.
    """

    body: bytes = field(repr=False)
    content_type: str = JSON
    code: int = http.OK
    headers: tuple[tuple[str, str], ...] = ()


class AdminError(Exception):
    """Raised to respond with an error.

    :ivar code: the status code.
    :param text: the reason, in one line; the client receives it.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def json_line(value: object) -> bytes:
    """Return a value as JSON in ASCII on one line, with sorted keys."""
    return json.dumps(value, sort_keys=True).encode("ascii") + b"\n"


def json_response(value: object) -> AdminResponse:
    """Return a response with a value as JSON."""
    return AdminResponse(json_line(value))


def text_response(text: str, code: int = http.OK) -> AdminResponse:
    """Return a response with plain text."""
    return AdminResponse(text.encode("utf-8"), TEXT, code)


def error_response(
    code: int, text: str, headers: tuple[tuple[str, str], ...] = ()
) -> AdminResponse:
    """Return the response for an error: ``{"error": text}``."""
    return AdminResponse(json_line({"error": text}), code=code, headers=headers)

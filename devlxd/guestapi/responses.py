# -*- test-case-name: tests.guestapi.test_specification -*-
"""Answers: status, headers and body of one response, and nothing half-done."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, TypeVar

from attrs import frozen
from twisted.web import http

from devlxd.model import Container
from devlxd.turns import Slices

T = TypeVar("T")

#: How many paths of a list are rendered in one slice.
PATHS = 1000

Headers = tuple[tuple[bytes, bytes], ...]

_JSON: Headers = ((b"Content-Type", b"application/json"),)
_TEXT: Headers = ((b"Content-Type", b"text/plain; charset=utf-8"),)
NOSNIFF: Headers = ((b"X-Content-Type-Options", b"nosniff"),)
_CLOSE: Headers = ((b"Connection", b"close"),)


@frozen
class Response:
    """One response, ready to be sent any number of times."""

    code: int
    headers: Headers
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether the connection is closed after it."""
        return _CLOSE[0] in self.headers


def json_response(value: object) -> Response:
    """Answer with one JSON value and a newline, as Go's encoder writes it."""
    return Response(http.OK, _JSON, _json(value) + b"\n")


def _json(value: object) -> bytes:
    return json.dumps(
        value, ensure_ascii=False, separators=(",", ":"), sort_keys=True
    ).encode("utf-8")


def list_response(
    root: str, items: Mapping[str, T], is_told: Callable[[str, T], bool]
) -> Slices[Response]:
    """Answer with the paths of some items below ``root``, in their order.

    :param is_told: whether an item is one of them.
    """
    left = iter(items.items())
    parts: list[list[str]] = []
    while some := list(islice(left, PATHS)):
        parts.append(sorted(root + name for name, item in some if is_told(name, item)))
        if len(some) == PATHS:
            yield
    in_order = heapq.merge(*parts)
    texts: list[bytes] = []
    while paths := list(islice(in_order, PATHS)):
        texts.append((b"," if texts else b"[") + _json(paths)[1:-1])
        if len(paths) == PATHS:
            yield
    texts.append(b"]\n" if texts else b"[]\n")
    # To free all of them at once would take long.
    while len(parts) > 1:
        parts.pop()
        yield
    return Response(http.OK, _JSON, b"".join(texts))


def text_response(text: str) -> Response:
    """Answer with ``text`` to the byte."""
    return Response(http.OK, _TEXT, text.encode("utf-8"))


def refusal(code: int, text: str, headers: Headers = ()) -> Response:
    """Answer with one line that says no."""
    return Response(code, _TEXT + NOSNIFF + headers, text.encode("utf-8") + b"\n")


def not_allowed(methods: tuple[bytes, ...]) -> Response:
    """Answer that a path has no such method but ``methods``."""
    allow = ((b"Allow", b", ".join(methods)),)
    return refusal(http.NOT_ALLOWED, "method not allowed", allow)


#: The peer cannot be placed. cloud-init asks again after a 500 and nothing
#: else; it has to do so on a connection of its own, which is placed anew.
NOT_IN_CONTAINER = refusal(
    http.INTERNAL_SERVER_ERROR, "not in a container", headers=_CLOSE
)

#: What the log says more of.
INTERNAL_ERROR = refusal(
    http.INTERNAL_SERVER_ERROR, "internal server error", headers=_CLOSE
)

#: A request whose bytes are not HTTP.
BAD_REQUEST = refusal(http.BAD_REQUEST, "bad request", headers=_CLOSE)

#: A request with a body of more than a guest has to say.
TOO_LARGE = refusal(http.REQUEST_ENTITY_TOO_LARGE, "request too large", headers=_CLOSE)


class ResponseCache:
    """Answers, or what makes them, from a snapshot alone, kept as long as it is.

    A snapshot that was replaced takes its answers with it the next time
    that its container asks.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Container, dict[object, Any]]] = {}

    def answer(self, container: Container, key: object, render: Callable[[], T]) -> T:
        """Return the answer kept under ``key``, rendered if it is not there.

        :param key: what is asked for. There must be no more of them than the
            snapshot has parts: a guest must not be able to make them up.
        """
        snapshot, answers = self._kept.get(container.name, (None, {}))
        if snapshot is not container:
            answers = {}
            self._kept[container.name] = (container, answers)
        answer: T | None = answers.get(key)
        if answer is None:
            answer = answers[key] = render()
        return answer

    def forget(self, name: str) -> None:
        """Drop what is kept for the container ``name``."""
        self._kept.pop(name, None)

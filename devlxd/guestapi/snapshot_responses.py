# -*- test-case-name: tests.guestapi.test_resources -*-
"""Responses that are rendered from snapshots: JSON and text, and their cache."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web import http

from devlxd.httpserver.quick_requests import RenderedResponse, rendered
from devlxd.httpserver.responses import (
    INTERNAL_ERROR,
    TEXT,
    Headers,
    Response,
    refusal,
)
from devlxd.model import Container
from devlxd.turns import Slices

T = TypeVar("T")

JSON: Headers = ((b"Content-Type", b"application/json"),)

#: How many responses of one container are kept as they are sent.
MAX_RENDERED = 64

#: The response to a caller that is not in a container. cloud-init retries only after a
#: 500, and must do so on a new connection, whose caller is identified again.
NOT_IN_CONTAINER = refusal(
    http.INTERNAL_SERVER_ERROR, "not in a container", closes=True
)


def json_response(value: object) -> Response:
    """Return a response with one JSON value and a newline, as LXD writes it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return Response(http.OK, JSON, text.encode("utf-8") + b"\n")


def text_response(text: str) -> Response:
    """Return a response with ``text``, unchanged."""
    return Response(http.OK, TEXT, text.encode("utf-8"))


class _Values:
    """The values of one snapshot."""

    __slots__ = ("by_key", "rendered", "snapshot")

    def __init__(self, snapshot: Container) -> None:
        self.snapshot = snapshot
        self.by_key: dict[object, Any] = {}
        self.rendered: dict[bytes, RenderedResponse] = {}


class ResponseCache:
    """A cache of values that depend only on a snapshot, such as responses.

    The values of a replaced snapshot are dropped when a value of its successor is
    requested.
    """

    def __init__(self) -> None:
        self._kept: dict[str, _Values] = {}

    def _values_of(self, container: Container) -> _Values:
        values = self._kept.get(container.name)
        if values is None or values.snapshot is not container:
            values = self._kept[container.name] = _Values(container)
        return values

    def get(
        self,
        container: Container,
        key: object,
        render: Callable[[], T],
        limit: int | None = None,
    ) -> T:
        """Return the value of ``key``; render it if it is not in the cache.

        :param key: identifies the value. Use keys only for what the snapshot contains,
            not for every name in a request: a guest must not be able to fill the cache.
        :param render: returns the value.
        :param limit: if this many values of the container are in the cache, the value
            is not kept.
        """
        kept = self._values_of(container).by_key
        value: T | None = kept.get(key)
        if value is None:
            value = render()
            if limit is None or len(kept) < limit:
                kept[key] = value
        return value

    def put_rendered(
        self, container: Container, path: bytes, response: Response
    ) -> None:
        """Keep what is sent as the response to GET for a path, if that is possible.

        :param path: the path of a request for an item that exists, see `get`; without
            ``%``.
        :param response: a response that depends on the snapshot and the path alone.
        """
        kept = self._values_of(container).rendered
        if len(kept) < MAX_RENDERED and path not in kept:
            sent = rendered(response)
            if sent is not None:
                kept[path] = sent

    def get_rendered(
        self, container: Container, path: bytes
    ) -> RenderedResponse | None:
        """Return what `put_rendered` kept; ``None`` if nothing is kept for a path."""
        values = self._kept.get(container.name)
        if values is None or values.snapshot is not container:
            return None
        return values.rendered.get(path)

    def forget(self, name: str) -> None:
        """Drop the values of the container ``name``."""
        self._kept.pop(name, None)


class SlicedResponse:
    """A response rendered in slices: the first one immediately, the others in turns.

    It is rendered once, however many requests wait for it.

    :param name: the name of the container.
    :param slices: renders the response.
    :param take_turn: calls a function in a turn of the container.
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        slices: Slices[Response],
        take_turn: Callable[[Callable[[], None]], object],
    ) -> None:
        self._name = name
        self._slices = slices
        self._take_turn = take_turn
        self._response: Response | None = None
        # The requests that wait for the response, in the order of their arrival.
        self._pending: dict[Deferred[Response], None] = {}
        self._render()

    def get(self) -> Response | Deferred[Response]:
        """Return the response, or a cancellable Deferred that fires with it."""
        if self._response is not None:
            return self._response
        pending: Deferred[Response] = Deferred(self._forget)
        self._pending[pending] = None
        return pending

    def _forget(self, pending: Deferred[Response]) -> None:
        self._pending.pop(pending, None)

    def _render(self) -> None:
        try:
            next(self._slices)
        except StopIteration as stop:
            self._response = stop.value
        except Exception:
            self._log.failure(
                "a response for container {name} could not be rendered; the guest "
                "receives a 500 until the container changes",
                name=self._name,
            )
            self._response = INTERNAL_ERROR
        else:
            self._take_turn(self._render)
            return
        self._send_next()

    def _send_next(self) -> None:
        """Pass the response to the requests that wait for it, one in each turn."""
        if self._pending and self._response is not None:
            pending = next(iter(self._pending))
            del self._pending[pending]
            self._take_turn(self._send_next)
            pending.callback(self._response)

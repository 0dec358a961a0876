# -*- test-case-name: tests.guestapi.test_guest_state_resource -*-
"""``/1.0`` with the guest state, which the guest itself can set."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import ClassVar

from twisted.web import http
from twisted.web.http import Request

from devlxd.guestapi.dialect import PathPattern, Route, Services
from devlxd.guestapi.resource_bases import AnyResponse, GuestResource, caller_of
from devlxd.guestapi.snapshot_responses import json_response, text_response
from devlxd.httpserver.conditions import refused_change
from devlxd.httpserver.request import DevLXDRequest
from devlxd.httpserver.responses import Response, refusal
from devlxd.model import Container, GuestState

#: The maximum length of a state that is quoted in an error message, in characters.
_MAX_QUOTED = 100


class GuestStateResource(GuestResource):
    """``/1.0``: facts of the API, the location, and the guest state.

    ``PATCH`` sets the guest state. The body is a JSON object with the field ``state``;
    other fields are ignored, and so is the content type: curl sends that of a form.

    :ivar facts: the fields that are the same for every container.
    """

    methods: ClassVar[tuple[bytes, ...]] = (b"GET", b"HEAD", b"PATCH")
    facts: Mapping[str, object]

    def __init__(self, services: Services, path: PathPattern) -> None:
        super().__init__(services, path)
        self._response_with = lru_cache(maxsize=4)(self._render)

    def get(self, request: Request, container: Container) -> AnyResponse:
        """See `GuestResource.get`."""
        states, caller = self.services.states, caller_of(request)
        location = self.services.location or os.uname().nodename
        current = self._response_with(states.get(caller), location)
        if request.method != b"PATCH":
            return current
        refused = refused_change(request, current)
        if refused is not None:
            return refused
        try:
            states.set(caller, _state_in(request))
        except ValueError as error:
            return refusal(http.BAD_REQUEST, str(error))
        return text_response("")

    def _render(self, state: GuestState, location: str) -> Response:
        return json_response({**self.facts, "state": state.value, "location": location})


def guest_state(facts: Mapping[str, object]) -> Route:
    """Return a route to a `GuestStateResource`.

    :param facts: the fields that are the same for every container.
    """

    def route(services: Services, path: PathPattern) -> GuestStateResource:
        resource = GuestStateResource(services, path)
        resource.facts = facts
        return resource

    return route


def _state_in(request: Request) -> GuestState:
    """Return the guest state in the body of a request.

    :raises ValueError: if there is none; the text is the error message for the guest.
    """
    assert isinstance(request, DevLXDRequest)
    body = _object_in(request.content.read())
    state = body.get("state")
    if state is None:
        state = ""
    if not isinstance(state, str):
        raise ValueError("Invalid request body: state is not a string")
    try:
        return GuestState(state)
    except ValueError:
        raise ValueError(f"Invalid state {_quoted(state)}") from None


def _object_in(body: bytes) -> Mapping[str, object]:
    """Return the JSON object that is the whole of a body.

    :raises ValueError: if there is none; the text is the error message for the guest.
    """
    try:
        parsed = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise ValueError("Invalid request body: not JSON") from None
    if not isinstance(parsed, dict):
        raise ValueError("Invalid request body: not an object")
    return parsed


def _quoted(text: str) -> str:
    """Return a text in quotes on one line, shortened to `_MAX_QUOTED`."""
    quoted = json.dumps(text[:_MAX_QUOTED], ensure_ascii=False)
    # JSON may contain half of a surrogate pair, which UTF-8 cannot encode.
    return quoted.encode("utf-8", "replace").decode("utf-8")

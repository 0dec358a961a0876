# -*- test-case-name: tests.admin.test_overview -*-
"""The page for browsers: what `overview` returns, as HTML.

The page is complete without its script, which keeps it up to date and draws the plots.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.template import Element, Tag, XMLString, flatten, renderer

from devlxd.admin.metrics import RequestCounter
from devlxd.admin.operation import Operation
from devlxd.admin.overview import overview
from devlxd.admin.request import AdminRequest
from devlxd.admin.resource import AdminResource
from devlxd.admin.responses import AdminResponse

STATIC = Path(__file__).parent / "static"

#: The files that the page refers to, and their content types.
FILES: Mapping[str, str] = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}

#: The headers of the page. Nothing but its own files is loaded or run, and no other
#: page can show it in a frame.
_HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "no-referrer"),
)

_TEMPLATE = (STATIC / "page.xml").read_text()


class OverviewPage(Element):
    """The page.

    :param content: what `devlxd.admin.overview.overview` returned.
    :param host: the name of the host.
    """

    loader = XMLString(_TEMPLATE)

    def __init__(self, content: Mapping[str, Any], host: str) -> None:
        super().__init__()
        self._content = content
        self._host = host

    @renderer
    def host(self, request: IRequest | None, tag: Tag) -> str:
        """Render the name of the host."""
        return self._host

    @renderer
    def health(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render whether devlxd is healthy, as a word."""
        if self._content["healthy"]:
            return tag("healthy")
        return tag("NOT HEALTHY", class_="bad")

    @renderer
    def problems(self, request: IRequest | None, tag: Tag) -> Iterator[Tag]:
        """Render the problems."""
        for text in self._content["problems"]:
            yield tag.clone().fillSlots(text=text)

    @renderer
    def version(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render the version of devlxd."""
        return tag(self._content["version"])

    @renderer
    def uptime(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render for how long devlxd has been running."""
        return tag(self._content["uptime"])

    @renderer
    def known(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render the number of containers."""
        return tag(str(self._content["containers"]["known"]))

    @renderer
    def broken(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render the number of broken documents."""
        return tag(str(self._content["containers"]["broken"]))

    @renderer
    def sources(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render the states of the remote sources."""
        return tag("; ".join(self._content["sources"]) or "none")

    @renderer
    def connections(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render the number of connections."""
        return tag(str(self._content["connections"]))

    @renderer
    def subscribers(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render the number of subscribers."""
        return tag(str(self._content["subscribers"]))

    @renderer
    def listeners(self, request: IRequest | None, tag: Tag) -> Iterator[Tag]:
        """Render a row for each listener."""
        for one in self._content["listeners"]:
            state = "listening" if one["listening"] else "NOT LISTENING"
            if "sockets" in one:
                state += f", {one['sockets']} sockets, {one['missing']} missing"
            yield tag.clone().fillSlots(
                dialect=one["dialect"], address=one["address"], state=state
            )

    @renderer
    def faults(self, request: IRequest | None, tag: Tag) -> Iterator[Tag]:
        """Render a row for each fault of a document."""
        for one in self._content["faults"]:
            place = f"{one['file']}:{one['line']}" if one["line"] else one["file"]
            yield tag.clone().fillSlots(place=place, text=one["text"])

    @renderer
    def faults_none(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render the text that replaces the table of faults."""
        return _unless(self._content["faults"], tag)

    @renderer
    def refusals(self, request: IRequest | None, tag: Tag) -> Iterator[Tag]:
        """Render a row for each kind of refusals of each container."""
        for one in self._content["refusals"]:
            yield tag.clone().fillSlots(
                reason=one["reason"],
                container=one["container"],
                count=str(one["count"]),
            )

    @renderer
    def refusals_none(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render the text that replaces the table of refusals."""
        return _unless(self._content["refusals"], tag)

    @renderer
    def containers(self, request: IRequest | None, tag: Tag) -> Iterator[Tag]:
        """Render a row for each container."""
        for one in self._content["containers"]["shown"]:
            slots = {name: str(value) for name, value in one.items()}
            yield tag.clone().fillSlots(**slots)

    @renderer
    def containers_none(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render the text that replaces the table of containers."""
        return _unless(self._content["containers"]["shown"], tag)

    @renderer
    def more(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render the text for containers that are not in the table."""
        containers = self._content["containers"]
        return _unless(len(containers["shown"]) >= containers["known"], tag)


def _unless(condition: object, tag: Tag) -> Tag:
    """Return ``tag``, hidden if the condition is true."""
    return tag(hidden="hidden") if condition else tag


def render_page(content: Mapping[str, Any], host: str) -> bytes:
    """Return the page, as HTML in UTF-8."""
    parts = [b"<!DOCTYPE html>\n"]
    failures: list[Failure] = []
    # Nothing in the page waits, so that it is complete when this returns.
    flattened = flatten(None, OverviewPage(content, host), parts.append)
    flattened.addErrback(failures.append)
    if failures:
        failures[0].raiseException()
    return b"".join(parts)


class PageResource(AdminResource):
    """``/``: the page."""

    is_public = True

    def __init__(self, operation: Operation, counter: RequestCounter) -> None:
        self._operation = operation
        self._counter = counter

    def respond(self, request: AdminRequest) -> AdminResponse:
        """See `AdminResource.respond`."""
        content = overview(self._operation, self._counter)
        page = render_page(content, socket.gethostname())
        return AdminResponse(page, "text/html; charset=utf-8", headers=_HEADERS)


class FileResource(AdminResource):
    """A file that the page refers to.

    :param name: one of `FILES`.
    """

    is_public = True

    def __init__(self, name: str) -> None:
        self._response = AdminResponse((STATIC / name).read_bytes(), FILES[name])

    def respond(self, request: AdminRequest) -> AdminResponse:
        """See `AdminResource.respond`."""
        return self._response

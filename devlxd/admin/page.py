# -*- test-case-name: tests.admin.test_overview -*-
"""The page for browsers: what `overview` returns, as HTML.

The page is complete without its script, which keeps it up to date and draws the plots.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest
from twisted.web.template import Element, Tag, XMLString, flattenString, renderer

STATIC = Path(__file__).parent / "static"

#: The files that the page refers to, and their content types.
FILES: Mapping[str, str] = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}

#: The headers of the page. Nothing but its own files is loaded or run, and no other
#: page can show it in a frame.
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"Content-Type", b"text/html; charset=utf-8"),
    (
        b"Content-Security-Policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; "
        b"connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        b"frame-ancestors 'none'",
    ),
    (b"Referrer-Policy", b"no-referrer"),
)

_TEMPLATE = (STATIC / "page.xml").read_text()


class OverviewPage(Element):
    """The page.

    :param overview: what `devlxd.admin.overview.overview` returned.
    :param host: the name of the host.
    """

    loader = XMLString(_TEMPLATE)

    def __init__(self, overview: Mapping[str, Any], host: str) -> None:
        super().__init__()
        self._overview = overview
        self._host = host

    @renderer
    def host(self, request: IRequest | None, tag: Tag) -> str:
        """Render the name of the host."""
        return self._host

    @renderer
    def health(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render whether devlxd is healthy, as a word."""
        if self._overview["healthy"]:
            return tag("healthy")
        return tag("NOT HEALTHY", class_="bad")

    @renderer
    def problems(self, request: IRequest | None, tag: Tag) -> Iterator[Tag]:
        """Render the problems."""
        for text in self._overview["problems"]:
            yield tag.clone().fillSlots(text=text)

    @renderer
    def version(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render the version of devlxd."""
        return tag(self._overview["version"])

    @renderer
    def uptime(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render for how long devlxd has been running."""
        return tag(self._overview["uptime"])

    @renderer
    def known(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render the number of containers."""
        return tag(str(self._overview["containers"]["known"]))

    @renderer
    def broken(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render the number of broken documents."""
        return tag(str(self._overview["containers"]["broken"]))

    @renderer
    def connections(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render the number of connections."""
        return tag(str(self._overview["connections"]))

    @renderer
    def subscribers(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render the number of subscribers."""
        return tag(str(self._overview["subscribers"]))

    @renderer
    def listeners(self, request: IRequest | None, tag: Tag) -> Iterator[Tag]:
        """Render a row for each listener."""
        for one in self._overview["listeners"]:
            state = "listening" if one["listening"] else "NOT LISTENING"
            yield tag.clone().fillSlots(
                dialect=one["dialect"], address=one["address"], state=state
            )

    @renderer
    def faults(self, request: IRequest | None, tag: Tag) -> Iterator[Tag]:
        """Render a row for each fault of a document."""
        for one in self._overview["faults"]:
            place = f"{one['file']}:{one['line']}" if one["line"] else one["file"]
            yield tag.clone().fillSlots(place=place, text=one["text"])

    @renderer
    def faults_none(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render the text that replaces the table of faults."""
        return _unless(self._overview["faults"], tag)

    @renderer
    def refusals(self, request: IRequest | None, tag: Tag) -> Iterator[Tag]:
        """Render a row for each kind of refusals of each container."""
        for one in self._overview["refusals"]:
            yield tag.clone().fillSlots(
                reason=one["reason"],
                container=one["container"],
                count=str(one["count"]),
            )

    @renderer
    def refusals_none(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render the text that replaces the table of refusals."""
        return _unless(self._overview["refusals"], tag)

    @renderer
    def containers(self, request: IRequest | None, tag: Tag) -> Iterator[Tag]:
        """Render a row for each container."""
        for one in self._overview["containers"]["shown"]:
            slots = {name: str(value) for name, value in one.items()}
            yield tag.clone().fillSlots(**slots)

    @renderer
    def containers_none(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render the text that replaces the table of containers."""
        return _unless(self._overview["containers"]["shown"], tag)

    @renderer
    def more(self, request: IRequest | None, tag: Tag) -> Tag:
        """Render the text for containers that are not in the table."""
        containers = self._overview["containers"]
        return _unless(len(containers["shown"]) >= containers["known"], tag)


def _unless(condition: object, tag: Tag) -> Tag:
    """Return ``tag``, hidden if the condition is true."""
    return tag(hidden="hidden") if condition else tag


def render_page(overview: Mapping[str, Any], host: str) -> Deferred[bytes]:
    """Return a Deferred that fires with the page, as HTML in UTF-8."""
    html = flattenString(None, OverviewPage(overview, host))
    return html.addCallback(lambda page: b"<!DOCTYPE html>\n" + page)

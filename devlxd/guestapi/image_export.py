# -*- test-case-name: tests.guestapi.test_image_export -*-
"""``/1.0/images/{fingerprint}/export``: an image of the host.

Requests for a missing image and for a private one have the same response, after
the same time: a guest cannot find out which images the host has.
"""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.web import http
from twisted.web.http import Request

from devlxd.booleans import is_true
from devlxd.guestapi.dialect import PathPattern, Services
from devlxd.guestapi.downloads import Downloads
from devlxd.guestapi.image_body import ImageBody, body_of
from devlxd.guestapi.resource_bases import AnyResponse, GuestResource
from devlxd.httpserver.conditions import (
    Validators,
    refused_condition,
    requested_range,
)
from devlxd.httpserver.file_body import FileBody
from devlxd.httpserver.ranges import UnsatisfiableError
from devlxd.httpserver.responses import (
    Headers,
    PendingStream,
    Response,
    ResponseError,
    StreamResponse,
    refusal,
)
from devlxd.interfaces import ImageError, IOpenImage
from devlxd.model import Container, FileRange, is_fingerprint

#: The ``Retry-After`` that a container with too many downloads receives, in seconds.
RETRY_AFTER = 10

#: How much of an image is in memory for each download, in bytes. Larger pieces are
#: not faster.
PIECE = 128 * 1024

_TOO_MANY = refusal(
    HTTPStatus.TOO_MANY_REQUESTS,
    "too many downloads",
    headers=((b"Retry-After", b"%d" % RETRY_AFTER),),
)

_BAD_GATEWAY = refusal(http.BAD_GATEWAY, "bad gateway")


class ImageExportResource(GuestResource):
    """All paths below ``/1.0/images``; only ``{fingerprint}/export`` exists."""

    isLeaf = True

    def __init__(
        self, services: Services, path: PathPattern, downloads: Downloads
    ) -> None:
        super().__init__(services, path)
        self._downloads = downloads

    def respond(self, request: Request, container: Container) -> AnyResponse:
        """See `GuestResource.respond`."""
        if self.path.variable_in(request.path) is None:
            return self.not_found
        return super().respond(request, container)

    def get(self, request: Request, container: Container) -> AnyResponse:
        """See `GuestResource.get`."""
        if not is_true(container.config.get(self.dialect.images_key, "")):
            return self.not_authorized
        raw = self.path.variable_in(request.path) or b""
        fingerprint = unquote_to_bytes(raw).decode("latin-1").lower()
        if not is_fingerprint(fingerprint):
            return self.not_found
        if not self._downloads.begin(container.name):
            return _TOO_MANY
        download = _Download(self._downloads, container.name, fingerprint)
        return PendingStream(Deferred.fromCoroutine(self._open(request, download)))

    async def _open(
        self, request: Request, download: _Download
    ) -> Response | StreamResponse:
        try:
            response = await self._respond_with(request, download)
        except BaseException:
            download.close()
            raise
        if isinstance(response, Response):
            download.close()
        return response

    async def _respond_with(
        self, request: Request, download: _Download
    ) -> Response | StreamResponse:
        body = await download.open()
        if body is None:
            return self.not_found
        # Last-Modified must not be in the future (RFC 9110, 8.8.2.1).
        modified = min(body.image.modified, int(self.services.wall()))
        etag = b'"%b"' % body.image.fingerprint.encode("ascii")
        return _response(request, download, body, Validators(etag, modified))


class _Download:
    """One download, which counts towards the limit until it is closed."""

    def __init__(self, downloads: Downloads, container: str, fingerprint: str) -> None:
        self._downloads = downloads
        self._container = container
        self._fingerprint = fingerprint
        self._opened: IOpenImage | None = None

    async def open(self) -> ImageBody | None:
        """Open the image.

        :return: the body of the response; ``None`` if there is no image with this
            fingerprint that guests may download.
        :raises ResponseError: if the image cannot be opened.
        """
        try:
            self._opened = await self._downloads.open(self._fingerprint)
        except ImageError as error:
            raise self._failed(error) from error
        return None if self._opened is None else body_of(self._opened)

    def stream(self, body: ImageBody, start: int, end: int) -> FileBody:
        """Return a stream of a part of the body; at its end it closes the download."""

        async def read(start: int, size: int) -> bytes:
            try:
                return await body.read(start, size)
            except ImageError as error:
                raise self._failed(error) from error

        async def load(start: int, size: int) -> FileRange | None:
            try:
                return await body.load(start, size)
            except ImageError as error:
                raise self._failed(error) from error

        return FileBody(start, end, read, load, PIECE, release=self.close)

    def _failed(self, error: ImageError) -> ResponseError:
        self._downloads.log_failure(self._container, self._fingerprint, error)
        return ResponseError(_BAD_GATEWAY)

    def close(self) -> None:
        """Close the image, and stop counting the download."""
        self._downloads.end(self._container)
        if self._opened is not None:
            self._opened.close()


def export(services: Services, path: PathPattern) -> ImageExportResource | None:
    """Return the resource, or ``None`` if there are no images; see `Route`."""
    if services.downloads is None:
        return None
    return ImageExportResource(services, path, services.downloads)


def _response(
    request: Request, download: _Download, body: ImageBody, validators: Validators
) -> Response | StreamResponse:
    """Respond to a request for an open image: for all of it, or for a range."""
    refused = refused_condition(request, validators)
    if refused is not None:
        return refused
    try:
        part = _part_of(request, body, validators)
    except UnsatisfiableError:
        return _not_satisfiable(body.size)
    start, end = part or (0, body.size)
    length: Headers = ((b"Content-Length", b"%d" % (end - start)),)
    if part is not None:
        length += ((b"Content-Range", b"bytes %d-%d/%d" % (start, end - 1, body.size)),)
    headers = (*body.headers, *validators.headers, *length)
    code = http.PARTIAL_CONTENT if part else http.OK
    return StreamResponse(code, headers, download.stream(body, start, end))


def _part_of(
    request: Request, body: ImageBody, validators: Validators
) -> tuple[int, int] | None:
    if not body.is_seekable:
        return None
    return requested_range(request, body.size, validators)


def _not_satisfiable(size: int) -> Response:
    content_range = (b"Content-Range", b"bytes */%d" % size)
    return refusal(
        http.REQUESTED_RANGE_NOT_SATISFIABLE,
        "range not satisfiable",
        headers=(content_range,),
    )

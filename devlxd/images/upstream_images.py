# -*- test-case-name: tests.images.test_upstream_images -*-
"""The images of the host's own LXD, or Incus: asked for, and passed on."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NoReturn, cast

from attrs import frozen
from multipart import (
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.web import http
from twisted.web.client import URI, Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import (
    IAgent,
    IAgentEndpointFactory,
    IBodyProducer,
    IResponse,
)
from zope.interface import implementer

from devlxd.images.response_reader import ResponseBody, reason_of
from devlxd.interfaces import IDevLXDReactor, IImageStore, ImageError, IOpenImage
from devlxd.model import Image, ImagePart
from devlxd.timestamps import timestamp_of

#: How long LXD may take to begin with an answer, in seconds.
TIMEOUT = 10

#: How long it may take to find out all that there is to know of an image, in
#: seconds. Of a split one its metadata have to be read for this.
OPEN_TIMEOUT = 30

#: How long what LXD says of an image may be, in bytes.
MAX_FACTS = 1024 * 1024

#: Of how many images it is remembered of which parts they are.
MAX_REMEMBERED = 1000

#: What the parts of a split image may be called (protocol.md 4).
_METADATA = ("metadata",)
_ROOTFS = ("rootfs", "rootfs.img")

_NANOSECONDS = 10**9


@frozen
class _Facts:
    """What LXD says of an image.

    :ivar size: how long it is, in bytes.
    :ivar modified: since when LXD has it, in seconds since 1970.
    """

    fingerprint: str
    size: int
    modified: int


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
@frozen
class _OneEndpoint:
    """Connects to one endpoint, whatever the URI, and logs nothing of it."""

    endpoint: IStreamClientEndpoint

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """See `IAgentEndpointFactory.endpointForURI`."""
        return self

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint.connect`."""
        cast(Factory, protocolFactory).noisy = False
        connecting: Deferred[IProtocol] = self.endpoint.connect(protocolFactory)
        return connecting


@implementer(IAgent)
@frozen
class _AsItComes:
    """Takes what is sent as it is.

    treq would unpack what is compressed, all at once, however much it becomes.
    """

    agent: IAgent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """See `IAgent.request`."""
        plain = headers.copy() if headers else Headers()
        plain.removeHeader(b"Accept-Encoding")
        asking = self.agent.request(method, uri, plain, bodyProducer)
        return asking.addCallback(_not_packed)


def _not_packed(response: IResponse) -> IResponse:
    response.headers.removeHeader(b"Content-Encoding")
    return response


@implementer(IImageStore)
class LXDImageStore:
    """The public and the cached images of an LXD.

    :param path: of LXD's own socket, such as ``/var/lib/lxd/unix.socket``.
    :param reactor: to connect to it, and for timeouts.
    :param agent: what asks; by default it asks at that socket.
    """

    def __init__(
        self, path: str, reactor: IDevLXDReactor, agent: IAgent | None = None
    ) -> None:
        self.path = path
        self._reactor = reactor
        endpoint = UNIXClientEndpoint(reactor, path, TIMEOUT)
        self._agent = agent or Agent.usingEndpointFactory(
            reactor, _OneEndpoint(endpoint)
        )
        self._parts: dict[str, tuple[ImagePart, ...]] = {}

    def open(self, fingerprint: str) -> Deferred[IOpenImage | None]:
        """See `IImageStore.open`."""
        opening = Deferred.fromCoroutine(self._open(fingerprint))
        return opening.addTimeout(OPEN_TIMEOUT, self._reactor, _takes_too_long)

    async def _open(self, fingerprint: str) -> IOpenImage | None:
        facts = await self._facts(fingerprint)
        if facts is None:
            return None
        parts = self._parts.get(fingerprint, ())
        if sum(part.size for part in parts) != facts.size:
            parts = await self._find_parts(facts)
            self._remember(fingerprint, parts)
        return _OpenUpstream(Image(fingerprint, parts, facts.modified), self)

    async def _facts(self, fingerprint: str) -> _Facts | None:
        response = await self._get(f"/1.0/images/{fingerprint}", Headers())
        body = ResponseBody.of(response, self._reactor)
        content = b""
        try:
            if response.code == http.NOT_FOUND:
                return None
            while response.code == http.OK and (piece := await body.read()):
                content += piece
                _check(len(content) <= MAX_FACTS, "LXD says too much of it")
        finally:
            body.close()
        _check(response.code == http.OK, f"LXD answers {response.code}")
        return _facts_in(content, fingerprint)

    async def _find_parts(self, facts: _Facts) -> tuple[ImagePart, ...]:
        """Find out of which parts an image is.

        LXD tells that only while it sends an image. Of a split one its first
        half, which is small, has to be read for this.
        """
        export = await self.export(facts.fingerprint, 0, 1)
        try:
            if export.is_split:
                return await export.read_layout(facts.size)
            export.check_range(0, 1, facts.size)
            return (ImagePart("", export.filename or facts.fingerprint, facts.size),)
        finally:
            export.close()

    def _remember(self, fingerprint: str, parts: tuple[ImagePart, ...]) -> None:
        if len(self._parts) >= MAX_REMEMBERED:
            del self._parts[next(iter(self._parts))]
        self._parts[fingerprint] = parts

    def forget(self, fingerprint: str) -> None:
        """Find out anew of which parts an image is, when it is opened next."""
        self._parts.pop(fingerprint, None)

    async def export(self, fingerprint: str, start: int, end: int) -> _Export:
        """Begin to fetch the data of an image, from ``start`` to ``end``.

        Of a split one LXD sends all the same.
        """
        wanted = Headers({b"Range": [b"bytes=%d-%d" % (start, end - 1)]})
        response = await self._get(f"/1.0/images/{fingerprint}/export", wanted)
        return _Export(response, ResponseBody.of(response, self._reactor))

    async def _get(self, path: str, headers: Headers) -> IResponse:
        # Each time anew: it would keep cookies.
        client = HTTPClient(_AsItComes(self._agent))
        asking = client.get(
            f"http://lxd{path}",
            headers=headers,
            allow_redirects=False,
            unbuffered=True,
            # Without one treq would take the global one.
            reactor=cast(Any, self._reactor),
        )
        asking.addTimeout(TIMEOUT, self._reactor, _no_answer)
        try:
            response: IResponse = await asking
        except Exception as error:
            # What may go wrong on the way there has no base of its own.
            raise ImageError(f"{self.path}: {reason_of(error)}") from error
        return response


def _no_answer(result: object, seconds: float) -> NoReturn:
    raise ImageError(f"no answer for {seconds:.0f} s")


def _takes_too_long(result: object, seconds: float) -> NoReturn:
    raise ImageError(f"LXD takes more than {seconds:.0f} s to tell of it")


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ImageError(otherwise)


def _facts_in(content: bytes, fingerprint: str) -> _Facts | None:
    """Read what LXD says of an image.

    :return: ``None`` when it is neither public nor cached.
    """
    try:
        said = json.loads(content)["metadata"]
        is_free = said["public"] is True or said["cached"] is True
        size, uploaded_at = said["size"], str(said.get("uploaded_at"))
        is_another = said["fingerprint"] != fingerprint
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ImageError("what LXD says of it is nothing that LXD says") from None
    if not is_free:
        return None
    _check(not is_another, "LXD speaks of another image")
    _check(type(size) is int and size > 0, "LXD does not say how long it is")
    return _Facts(fingerprint, size, _seconds(uploaded_at))


def _seconds(text: str) -> int:
    """Return a time in seconds since 1970; 0 if it is none, or before."""
    try:
        return max(timestamp_of(text) // _NANOSECONDS, 0)
    except ValueError:
        return 0


class _Export:
    """The data of an image on their way from LXD.

    :ivar is_split: whether they come in two parts.
    :ivar filename: what LXD calls it, if it has only one; empty if it has no
        name for it.
    """

    def __init__(self, response: IResponse, body: ResponseBody) -> None:
        self._response = response
        self._body = body
        kind, options = self._options(b"Content-Type")
        self.is_split = kind == "multipart/form-data"
        self._boundary = options.get("boundary", "")
        self.filename = self._options(b"Content-Disposition")[1].get("filename", "")

    def _options(self, name: bytes) -> tuple[str, Mapping[str, str]]:
        kind, options = parse_options_header(self._header(name))
        return kind, options

    def _header(self, name: bytes) -> str:
        values: Sequence[bytes] = self._response.headers.getRawHeaders(name, [b""])
        return values[-1].decode("latin-1")

    def close(self) -> None:
        """Fetch no more of them."""
        self._body.close()

    def check_range(self, start: int, end: int, size: int) -> None:
        """Check that what comes are the bytes from ``start`` to ``end``.

        :param size: how long the image is, of one file.
        :raises ImageError: when LXD sends something else.
        """
        _check(
            self._response.code == http.PARTIAL_CONTENT,
            f"LXD answers {self._response.code}",
        )
        expected = f"bytes {start}-{end - 1}/{size}"
        got = self._header(b"Content-Range")
        _check(got == expected, f"LXD sends {got!a}, not {expected}")
        length = self._response.length
        _check(length == end - start, f"LXD sends {length} bytes, not {end - start}")

    async def read_layout(self, size: int) -> tuple[ImagePart, ...]:
        """Return the parts of a split image; nothing can be read after this.

        :param size: how long all of it is, in bytes.
        :raises ImageError: when LXD sends something else.
        """
        events = self._events()
        name, filename = await events.segment(_METADATA)
        length = 0
        while data := await events.data():
            length += len(data)
            _check(length < size, "LXD sends more of it than there is")
        metadata = ImagePart(name, filename, length)
        name, filename = await events.segment(_ROOTFS)
        _check(length > 0, "LXD sends nothing of the metadata")
        return (metadata, ImagePart(name, filename, size - length))

    async def data(self, parts: Sequence[ImagePart]) -> AsyncIterator[bytes]:
        """Hand out what comes; whether that is all has to be counted.

        :raises ImageError: when there is more of one of the ``parts``.
        """
        if not self.is_split:
            while data := await self._body.read():
                yield data
            return
        events = self._events()
        for part in parts:
            await events.segment((part.name,))
            left = part.size
            while data := await events.data():
                left -= len(data)
                _check(left >= 0, f"LXD sends more of the {part.name} than there is")
                yield data

    def _events(self) -> _Events:
        _check(self._response.code == http.OK, f"LXD answers {self._response.code}")
        return _Events(self._body, self._boundary)


class _Events:
    """What a multipart body consists of, one after the other.

    Each method raises `ImageError` when it is malformed.
    """

    def __init__(self, body: ResponseBody, boundary: str) -> None:
        self._body = body
        self._waiting: deque[MultipartSegment | bytes | None] = deque()
        try:
            self._parser = PushMultipartParser(boundary, strict=True)
        except MultipartError as error:
            raise ImageError(f"no multipart: {error}") from None

    async def segment(self, names: Sequence[str]) -> tuple[str, str]:
        """Take the head of a part, which has one of ``names``.

        :return: its name, and what its file is called.
        """
        head = await self._next()
        if not isinstance(head, MultipartSegment) or head.name not in names:
            raise ImageError(f"LXD sends no part {' or '.join(names)}")
        return head.name, head.filename or ""

    async def data(self) -> bytes:
        """Take some of the data of a part; nothing at its end."""
        data = await self._next()
        if isinstance(data, MultipartSegment):
            raise ImageError("LXD sends a part inside a part")
        # multipart before 2.0 has a bytearray, which no transport takes.
        return bytes(data or b"")

    async def _next(self) -> MultipartSegment | bytes | None:
        while not self._waiting:
            piece = await self._body.read()
            _check(bool(piece), "LXD sends fewer parts than there are")
            try:
                self._waiting.extend(self._parser.parse(piece))
            except MultipartError as error:
                raise ImageError(f"no multipart: {error}") from None
        return self._waiting.popleft()


@implementer(IOpenImage)
class _OpenUpstream:
    """An image of an LXD: fetched when it is read, and as fast.

    Of a split one LXD sends everything or nothing.
    """

    def __init__(self, image: Image, store: LXDImageStore) -> None:
        self.image = image
        self.is_seekable = len(image.parts) == 1
        self._store = store
        self._export: _Export | None = None
        self._at = 0
        self._rest = b""

    def read(self, start: int, size: int) -> Deferred[bytes]:
        """See `IOpenImage.read`."""
        return Deferred.fromCoroutine(self._read(start, size))

    async def _read(self, start: int, size: int) -> bytes:
        try:
            if self._export is None or start != self._at:
                await self._begin(start)
            if not self._rest:
                self._rest = await self._next()
            data, self._rest = self._rest[:size], self._rest[size:]
            self._at += len(data)
            if self._at == self.image.size:
                # Nobody shall think it complete if there is more.
                await self._check_end()
        except ImageError:
            self._store.forget(self.image.fingerprint)
            raise
        return data

    async def _begin(self, start: int) -> None:
        """Fetch the data anew, from ``start`` on."""
        self.close()
        image = self.image
        self._export = export = await self._store.export(
            image.fingerprint, start, image.size
        )
        self._at = start
        self._rest = b""
        self._data = export.data(image.parts)
        _check(export.is_split != self.is_seekable, "LXD sends another image")
        if self.is_seekable:
            export.check_range(start, image.size, image.size)
        elif start:
            raise ImageError("a split image of LXD has to be read from its beginning")

    async def _next(self) -> bytes:
        data = await anext(self._data, b"")
        _check(bool(data), "LXD sends less of it than there is")
        return data

    async def _check_end(self) -> None:
        more = await anext(self._data, b"")
        _check(not more, "LXD sends more of it than there is")

    def close(self) -> None:
        """See `IOpenImage.close`."""
        if self._export is not None:
            self._export.close()
            self._export = None

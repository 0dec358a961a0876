"""The part of LXD's own API that has to do with images, in memory."""

from __future__ import annotations

import hashlib
import json
import re

from attrs import define
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import Request

from devlxd.images.file_names import parts_of
from devlxd.model import ImagePart

UPLOADED_AT = "2026-11-21T22:11:24.928855292Z"

_RANGE = re.compile(rb"bytes=(\d+)-(\d+)")


@define
class FakeImage:
    """An image of LXD."""

    parts: tuple[ImagePart, ...]
    data: tuple[bytes, ...]
    public: bool
    cached: bool


class FakeLXD(Resource):
    """Answers as LXD 5.0.2 does, as far as images go."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.images: dict[str, FakeImage] = {}

    def put(self, *data: bytes, public: bool = True, cached: bool = False) -> str:
        """Put in an image of one file, or of two; return its fingerprint."""
        fingerprint = hashlib.sha256(b"".join(data)).hexdigest()
        parts = parts_of(fingerprint, data, [len(part) for part in data])
        self.images[fingerprint] = FakeImage(parts, data, public, cached)
        return fingerprint

    def render_GET(self, request: Request) -> bytes:
        """Answer."""
        pieces = request.path.decode().split("/")[3:]
        image = self.images.get(pieces[0])
        if image is None:
            request.setResponseCode(http.NOT_FOUND)
            return b'{"type":"error","error":"Image not found"}\n'
        if pieces[1:] == ["export"]:
            return self._export(request, image)
        facts = {
            "fingerprint": pieces[0],
            "public": image.public,
            "cached": image.cached,
            "size": sum(map(len, image.data)),
            "uploaded_at": UPLOADED_AT,
        }
        return json.dumps({"type": "sync", "metadata": facts}).encode()

    def _export(self, request: Request, image: FakeImage) -> bytes:
        if len(image.data) == 2:
            return self._split(request, image)
        (data,) = image.data
        (part,) = image.parts
        request.setHeader(b"Content-Type", b"application/octet-stream")
        disposition = f"inline;filename={part.filename}"
        request.setHeader(b"Content-Disposition", disposition.encode())
        match = _RANGE.fullmatch(request.getHeader(b"range") or b"")
        if match is None:
            return data
        first, last = int(match[1]), min(int(match[2]), len(data) - 1)
        request.setResponseCode(http.PARTIAL_CONTENT)
        content_range = f"bytes {first}-{last}/{len(data)}"
        request.setHeader(b"Content-Range", content_range.encode())
        return data[first : last + 1]

    def _split(self, request: Request, image: FakeImage) -> bytes:
        boundary = b"b" * 60
        content_type = b"multipart/form-data; boundary=" + boundary
        request.setHeader(b"Content-Type", content_type)
        for part, data in zip(image.parts, image.data, strict=True):
            disposition = f'form-data; name="{part.name}"; filename="{part.filename}"'
            request.write(
                b"--%b\r\nContent-Disposition: %b\r\n"
                b"Content-Type: application/octet-stream\r\n\r\n%b\r\n"
                % (boundary, disposition.encode(), data)
            )
        # Twice, as LXD does it.
        return b"--%b--\r\n\r\n--%b--\r\n" % (boundary, boundary)

"""The image endpoints of the REST API of LXD, in memory."""

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
    """An image of a `FakeLXD`."""

    parts: tuple[ImagePart, ...]
    data: tuple[bytes, ...]
    public: bool
    cached: bool


class FakeLXD(Resource):
    """Responds to requests for images as LXD 5.0.2 does."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.images: dict[str, FakeImage] = {}

    def put(self, *data: bytes, public: bool = True, cached: bool = False) -> str:
        """Add an image of one file, or of two; return its fingerprint."""
        fingerprint = hashlib.sha256(b"".join(data)).hexdigest()
        parts = parts_of(fingerprint, data, [len(part) for part in data])
        self.images[fingerprint] = FakeImage(parts, data, public, cached)
        return fingerprint

    def render_GET(self, request: Request) -> bytes:
        """Respond with the record of an image, or with its data."""
        fingerprint, *rest = request.path.decode().split("/")[3:]
        image = self.images.get(fingerprint)
        if image is None:
            request.setResponseCode(http.NOT_FOUND)
            return b'{"type":"error","error":"Image not found"}\n'
        if rest == ["export"]:
            if len(image.data) == 2:
                return self._export_split(request, image)
            return self._export_unified(request, image)
        record = {
            "fingerprint": fingerprint,
            "public": image.public,
            "cached": image.cached,
            "size": sum(map(len, image.data)),
            "uploaded_at": UPLOADED_AT,
        }
        return json.dumps({"type": "sync", "metadata": record}).encode()

    def _export_unified(self, request: Request, image: FakeImage) -> bytes:
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

    def _export_split(self, request: Request, image: FakeImage) -> bytes:
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
        # LXD sends the last boundary twice.
        return b"--%b--\r\n\r\n--%b--\r\n" % (boundary, boundary)

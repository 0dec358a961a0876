# -*- test-case-name: tests.images.test_upstream_records -*-
"""Image records: the descriptions of images in the REST API of LXD.

See ``GET /1.0/images/{fingerprint}`` in LXD's REST API documentation,
https://documentation.ubuntu.com/lxd/en/latest/api/.
"""

from __future__ import annotations

import json

from attrs import frozen
from twisted.web import http

from devlxd.images.image_errors import require
from devlxd.images.upstream_client import UpstreamClient
from devlxd.interfaces import ImageError
from devlxd.timestamps import timestamp_of

#: The maximum length of the record of an image, in bytes.
MAX_RECORD = 1024 * 1024

_NANOSECONDS = 10**9


@frozen
class ImageRecord:
    """The record of a public or cached image.

    :ivar size: the size of the image, in bytes.
    :ivar modified: when the image was added to LXD, in seconds since 1970; 0 if this is
        not known.
    """

    fingerprint: str
    size: int
    modified: int


async def fetch_record(client: UpstreamClient, fingerprint: str) -> ImageRecord | None:
    """Fetch the record of an image.

    :return: ``None`` if LXD does not have the image, or if it is neither public
        nor cached.
    :raises ImageError: if the record cannot be fetched, or is malformed.
    """
    response, reader = await client.get(f"/1.0/images/{fingerprint}")
    content = b""
    try:
        if response.code == http.NOT_FOUND:
            return None
        require(response.code == http.OK, f"LXD responded with status {response.code}")
        while chunk := await reader.read():
            content += chunk
            require(len(content) <= MAX_RECORD, "LXD sent too long an image record")
    finally:
        reader.close()
    return _parse(content, fingerprint)


def _parse(content: bytes, fingerprint: str) -> ImageRecord | None:
    try:
        record = json.loads(content)["metadata"]
        is_available = record["public"] is True or record["cached"] is True
        size, uploaded_at = record["size"], str(record.get("uploaded_at"))
        is_other = record["fingerprint"] != fingerprint
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ImageError("LXD sent a malformed image record") from None
    if not is_available:
        return None
    require(not is_other, "LXD sent the record of another image")
    require(type(size) is int and size > 0, "LXD sent no valid size of the image")
    return ImageRecord(fingerprint, size, _seconds(uploaded_at))


def _seconds(text: str) -> int:
    """Return a timestamp in seconds since 1970.

    :return: 0 if the text is not a timestamp, or is one before 1970.
    """
    try:
        return max(timestamp_of(text) // _NANOSECONDS, 0)
    except ValueError:
        return 0

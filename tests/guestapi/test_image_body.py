"""Tests of `devlxd.guestapi.image_body`."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.message import Message

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from devlxd.guestapi.image_body import ImageBody, body_of
from devlxd.images.memory_image_store import MemoryImageStore
from devlxd.interfaces import IOpenImage
from devlxd.model import Image, ImagePart


@implementer(IOpenImage)
class FakeOpenImage:
    """An open image with the given parts, and arbitrary data."""

    is_seekable = True

    def __init__(self, *parts: ImagePart) -> None:
        self.image = Image("f" * 64, parts, 0)

    def read(self, start: int, size: int) -> Deferred[bytes]:
        """See `IOpenImage.read`."""
        return succeed(b"x" * size)

    def close(self) -> None:
        """See `IOpenImage.close`."""


def disposition_of(filename: str) -> str:
    """Return the ``Content-Disposition`` for a filename."""
    return dict(body_of(FakeOpenImage(ImagePart("", filename, 1))).headers)[
        b"Content-Disposition"
    ].decode("ascii")


def parsed_filename(filename: str) -> str | None:
    """Return the filename that a client finds in the ``Content-Disposition``."""
    message = Message()
    message["Content-Disposition"] = disposition_of(filename)
    return message.get_filename()


class DispositionTests(SynchronousTestCase):
    """The filename in the ``Content-Disposition`` of an image."""

    def test_as_lxd(self) -> None:
        """A filename of plain characters is sent unquoted, as LXD sends it."""
        name = f"{'f' * 64}.tar.gz"
        self.assertEqual(disposition_of(name), f"inline;filename={name}")

    def test_any(self) -> None:
        """Other filenames are encoded (RFC 8187), and clients decode them."""
        for name in ("größe.tar", 'a "b".tar', "a;b=c, d", "a%20b", "ﬀ", "'"):
            self.assertEqual(parsed_filename(name), name)
            self.assertRegex(disposition_of(name), r"^inline;filename\*=UTF-8''\S+$")

    @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
    def test_one_header(self, name: str) -> None:
        """No filename can end the header or add a parameter."""
        self.assertIsNone(re.search(r"[\r\n\0 ]", disposition_of(name)))
        self.assertEqual(disposition_of(name).count(";"), 1)


def read(body: ImageBody, start: int, end: int, piece: int) -> bytes:
    """Read a range of a body, in pieces of limited size."""
    data = b""

    async def read_pieces() -> None:
        nonlocal data
        while start + len(data) < end:
            position = start + len(data)
            chunk = await body.read(position, min(piece, end - position))
            assert 0 < len(chunk) <= piece
            data += chunk

    Deferred.fromCoroutine(read_pieces())
    return data


class SplitTests(SynchronousTestCase):
    """Split images."""

    def body(self, *data: bytes) -> ImageBody:
        """Return the body for an image with these files."""
        store = MemoryImageStore()
        opened = self.successResultOf(store.open(store.put(*data)))
        assert opened is not None
        return body_of(opened)

    def test_parsed(self) -> None:
        """The multipart parser of the standard library finds both parts."""
        meta, root = b"\xfd7zXZ\x00meta\r\n--", b"QFI\xfb\r\n\r\nroot\r\n"
        body = self.body(meta, root)
        content_type = dict(body.headers)[b"Content-Type"]
        whole = read(body, 0, body.size, 7)
        self.assertEqual(len(whole), body.size)
        message = message_from_bytes(
            b"Content-Type: " + content_type + b"\r\n\r\n" + whole
        )
        self.assertEqual(message.defects, [])
        parts = message.get_payload()
        assert isinstance(parts, list)
        found = []
        for part in parts:
            assert isinstance(part, Message)
            self.assertEqual(part.get_content_type(), "application/octet-stream")
            name = part.get_param("name", header="content-disposition")
            found.append((name, part.get_filename(), part.get_payload(decode=True)))
        fingerprint = re.search(rb"meta-([0-9a-f]{64})", whole)
        assert fingerprint is not None
        text = fingerprint[1].decode()
        self.assertEqual(
            found,
            [
                ("metadata", f"meta-{text}.tar.xz", meta),
                ("rootfs.img", f"{text}.qcow2", root),
            ],
        )

    def test_same_bytes(self) -> None:
        """The body of an image is always the same, so a download can be resumed."""
        first, second = (self.body(b"meta", b"root") for _ in range(2))
        self.assertEqual(first.headers, second.headers)
        self.assertEqual(
            read(first, 0, first.size, 10), read(second, 0, second.size, 1000)
        )
        other = self.body(b"meta", b"route")
        self.assertNotEqual(first.headers, other.headers)

    @settings(max_examples=50)
    @given(st.data())
    def test_ranges(self, data: st.DataObject) -> None:
        """Reading a range returns that range of the body."""
        body = self.body(b"meta" * 10, b"root" * 10)
        whole = read(body, 0, body.size, body.size)
        start = data.draw(st.integers(0, body.size - 1))
        end = data.draw(st.integers(start + 1, body.size))
        piece = data.draw(st.integers(1, 100))
        self.assertEqual(read(body, start, end, piece), whole[start:end])

    def test_strange_filename(self) -> None:
        """A filename of an upstream LXD cannot add lines to the head of a part."""
        body = body_of(
            FakeOpenImage(
                ImagePart("metadata", 'x"\r\nSet-Cookie: y', 1),
                ImagePart("rootfs", "größe", 1),
            )
        )
        whole = read(body, 0, body.size, 1000)
        self.assertIn(b'name="metadata"; filename="metadata"\r\n', whole)
        self.assertIn(b'name="rootfs"; filename="rootfs"\r\n', whole)

"""Tests of `devlxd.client.image_download`, without a network."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.client import (
    DoesNotMatch,
    Forbidden,
    NotFound,
    ProtocolError,
    Unavailable,
)
from devlxd.client.exchanges import Request
from devlxd.client.image_download import MAX_RESTARTS, PATIENCE, ImageDownload
from devlxd.images.memory_image_store import MemoryImageStore

_DATA = b"unified image " * 5
_META, _ROOT = b"metadata\r\n--", b"root file system\r\n"


@dataclass
class Reply:
    """A response, of which ``sent`` bytes of the body arrive."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None
    is_sized: bool = True


def _unified(data: bytes = _DATA, name: str = "fp.tar") -> Reply:
    disposition = f"inline;filename={name}"
    headers = {
        "content-type": "application/octet-stream",
        "content-disposition": disposition,
        "etag": '"tag"',
    }
    return Reply(data, headers=headers)


def _part(name: str, filename: str, data: bytes) -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"'
    return b"--b\r\n%b\r\n\r\n%b\r\n" % (head.encode(), data)


def _split(*parts: bytes) -> Reply:
    given = parts or (_part("metadata", "m", _META), _part("rootfs", "r", _ROOT))
    headers = {"content-type": "multipart/form-data; boundary=b"}
    return Reply(b"".join(given) + b"--b--\r\n", headers=headers)


def _rest(whole: Reply, request: Request) -> Reply:
    """Return the rest that a request asks for, as a server with ranges does."""
    asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    if asked is None:
        return whole
    start, total = int(asked[1]), len(whole.body)
    content_range = f"bytes {start}-{total - 1}/{total}"
    headers = {**whole.headers, "content-range": content_range}
    return replace(whole, body=whole.body[start:], status=206, headers=headers)


#: Returns the reply to a request: its number and itself. ``None``: no server.
Server = Callable[[int, Request], Reply | None]


def _always(reply: Reply) -> Server:
    return lambda number, request: reply


def _in_turn(*replies: Reply) -> Server:
    return lambda number, request: replies[number]


def _once_interrupted(whole: Reply, offset: int) -> Server:
    """Return a server that sends ``offset`` bytes, and the rest when it is asked."""
    return lambda number, request: replace(
        _rest(whole, request), sent=None if number else offset
    )


class DownloadTestCase(SynchronousTestCase):
    """Downloads into a directory, in which nothing may be left after a failure."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.requests: list[Request] = []
        self.progress: list[tuple[int, int | None]] = []
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "image"

    def fetch(
        self, server: Server, data: bytes = _DATA, path: Path | None = None
    ) -> tuple[Path, ...]:
        """Download an image as a face does it. After a failure, nothing is left."""
        fingerprint = hashlib.sha256(data).hexdigest()
        download = ImageDownload(
            fingerprint,
            path or self.path,
            lambda done, total: self.progress.append((done, total)),
            self.clock.seconds,
        )
        try:
            while not self._try(download, server):
                pass
            download.flush()
            return download.finish()
        finally:
            download.abort()
            left = os.listdir(self.directory)
            self.assertEqual([name for name in left if name.endswith(".part")], [])

    def fails(self, error: type[Exception], server: Server, data: bytes = _DATA) -> str:
        """Assert that a download fails, and leaves nothing; return the text."""
        text = str(self.assertRaises(error, self.fetch, server, data))
        self.assertEqual(os.listdir(self.directory), [])
        return text

    def _try(self, download: ImageDownload, server: Server) -> bool:
        request = download.request()
        self.requests.append(request)
        reply = server(len(self.requests) - 1, request)
        try:
            if reply is None:
                raise Unavailable("no server")
            length = len(reply.body) if reply.is_sized else None
            download.begin(reply.status, reply.headers, length)
            sent = reply.body[: reply.sent]
            for start in range(0, len(sent), 7):
                download.receive(sent[start : start + 7])
            if reply.sent is not None:
                raise Unavailable("interrupted")
            download.end()
        except Unavailable as error:
            self.clock.advance(download.interrupted(error))
            return False
        return True


class WholeTests(DownloadTestCase):
    """Downloads without an interruption."""

    def test_unified(self) -> None:
        """A unified image is one file."""
        self.assertEqual(self.fetch(_always(_unified())), (self.path,))
        self.assertEqual(self.path.read_bytes(), _DATA)
        self.assertEqual(self.progress[-1], (len(_DATA), len(_DATA)))
        fingerprint = hashlib.sha256(_DATA).hexdigest()
        expected = Request(f"/1.0/images/{fingerprint}/export")
        self.assertEqual(self.requests, [expected])

    def test_split(self) -> None:
        """A split image is two files, whose data is the image."""
        paths = self.fetch(_always(_split()), _META + _ROOT)
        rootfs = self.directory / "image.rootfs"
        self.assertEqual(paths, (self.path, rootfs))
        self.assertEqual(self.path.read_bytes(), _META)
        self.assertEqual(rootfs.read_bytes(), _ROOT)
        size = len(_META + _ROOT)
        self.assertEqual(self.progress[-1], (size, size))
        self.assertEqual({total for _, total in self.progress}, {None, size})

    def test_real_lxd(self) -> None:
        """LXD sends no length of a split image, and closes the form twice."""
        whole = _split(_part("metadata", "m", _META), _part("rootfs.img", "r", _ROOT))
        body = whole.body + b"\r\n--b--\r\n"
        reply = replace(whole, body=body, is_sized=False)
        self.fetch(_always(reply), _META + _ROOT)
        self.assertEqual(self.progress[-1], (len(_META + _ROOT), None))

    def test_directory(self) -> None:
        """In a directory, the server's names are used, or the fingerprint."""
        fingerprint = hashlib.sha256(_META + _ROOT).hexdigest()
        for names, expected in (
            (("m", "r"), ("m", "r")),
            (("../m", ".r"), (fingerprint, f"{fingerprint}.rootfs")),
        ):
            parts = [
                _part("metadata", names[0], _META),
                _part("rootfs", names[1], _ROOT),
            ]
            reply = _split(*parts)
            paths = self.fetch(_always(reply), _META + _ROOT, self.directory)
            self.assertEqual(tuple(path.name for path in paths), expected)

    def test_replaces(self) -> None:
        """A file that has the name is replaced, and only when the new one is whole."""
        self.path.write_bytes(b"old")
        self.assertRaises(DoesNotMatch, self.fetch, lambda n, r: _unified(b"x"))
        self.assertEqual(self.path.read_bytes(), b"old")
        self.fetch(_always(_unified()))
        self.assertEqual(self.path.read_bytes(), _DATA)

    def test_fingerprint(self) -> None:
        """A prefix of a fingerprint is refused: it would verify nothing."""
        for text in ("", "abc", "g" * 64, "a" * 65, "a" * 64 + "\n"):
            with self.assertRaises(ValueError):
                ImageDownload(text, self.path, None, self.clock.seconds)


class RefusalTests(DownloadTestCase):
    """Downloads that fail. Nothing is left of any."""

    def test_refusals(self) -> None:
        """Each refusal has its exception, with the server's text."""
        for status, error in (
            (404, NotFound),
            (403, Forbidden),
            (500, Unavailable),
            (302, ProtocolError),
        ):
            text = self.fails(error, _always(Reply(b"text\n", status)))
            self.assertEqual(text, "text")
        self.assertEqual(len(self.requests), 4)

    def test_does_not_match(self) -> None:
        """Other bytes than those of the fingerprint are removed."""
        self.fails(DoesNotMatch, lambda n, r: _unified(_DATA[:-1]))
        self.fails(DoesNotMatch, lambda n, r: _split())

    def test_not_an_image(self) -> None:
        """Something else than an image is refused."""
        html = Reply(b"<html>", headers={"content-type": "text/html"})
        form = {"content-type": "multipart/form-data"}
        mixed = {"content-type": "multipart/mixed; boundary=b"}
        for reply in (html, Reply(b""), Reply(b"", headers=form)):
            self.fails(ProtocolError, _always(reply))
        self.fails(ProtocolError, lambda n, r: replace(_split(), headers=mixed))

    def test_other_parts(self) -> None:
        """A form with other parts than those of an image is refused."""
        metadata, rootfs = _part("metadata", "m", _META), _part("rootfs", "r", _ROOT)
        for parts in (
            (metadata,),
            (rootfs, metadata),
            (metadata, metadata),
            (metadata, rootfs, rootfs),
            (metadata, _part("../rootfs", "r", _ROOT)),
        ):
            reply = _split(*parts)
            self.fails(ProtocolError, _always(reply), _META + _ROOT)

    def test_cut_form(self) -> None:
        """A form without its end is refused, wherever it ends."""
        whole = _split()
        for end in range(len(whole.body) - len(b"--\r\n")):
            reply = replace(whole, body=whole.body[:end])
            self.fails(ProtocolError, _always(reply), _META + _ROOT)

    def test_same_names(self) -> None:
        """Two files that have the same name in a directory are refused."""
        parts = (_part("metadata", "x", _META), _part("rootfs", "x", _ROOT))
        with self.assertRaises(ProtocolError):
            self.fetch(lambda n, r: _split(*parts), _META + _ROOT, self.directory)
        self.assertEqual(os.listdir(self.directory), [])

    def test_rootfs_is_a_directory(self) -> None:
        """An image is refused that cannot have its names; what was there stays."""
        (self.directory / "image.rootfs").mkdir()
        self.path.write_bytes(b"old")
        with self.assertRaises(IsADirectoryError):
            self.fetch(_always(_split()), _META + _ROOT)
        self.assertEqual(self.path.read_bytes(), b"old")

    def test_rename_fails(self) -> None:
        """If the second file cannot have its name, the first one has none either."""
        names: list[Path] = []
        original = os.replace

        def failing(source: Path, target: Path) -> None:
            names.append(target)
            if len(names) == 2:
                raise OSError(5, "Input/output error")
            original(source, target)

        self.patch(os, "replace", failing)
        text = self.fails(OSError, _always(_split()), _META + _ROOT)
        self.assertIn(str(self.path), text)

    def test_progress_fails(self) -> None:
        """An exception of the caller's own ends a download."""
        self.progress = ()  # type: ignore[assignment] # it cannot be appended to
        self.fails(AttributeError, _always(_unified()))


class ResumeTests(DownloadTestCase):
    """Downloads that are interrupted."""

    @given(st.data())
    def test_every_offset(self, data: st.DataObject) -> None:
        """A download continues wherever it was interrupted, any number of times."""
        self.setUp()
        whole, content = data.draw(
            st.sampled_from([(_unified(), _DATA), (_split(), _META + _ROOT)])
        )
        cuts = data.draw(st.lists(st.integers(0, len(whole.body) - 1), max_size=5))
        has_ranges = data.draw(st.booleans())

        def server(number: int, request: Request) -> Reply:
            reply = _rest(whole, request) if has_ranges else whole
            if number < len(cuts):
                return replace(reply, sent=min(cuts[number], len(reply.body) - 1))
            return reply

        paths = self.fetch(server, content)
        found = b"".join(path.read_bytes() for path in paths)
        self.assertEqual(found, content)

    def test_conditions(self) -> None:
        """The rest is asked for only if it is that of the same image."""
        self.fetch(_once_interrupted(_unified(), 10))
        expected = {"Range": "bytes=10-", "If-Range": '"tag"'}
        self.assertEqual(self.requests[1].headers, expected)

    def test_validators(self) -> None:
        """A date serves as well; a weak or a strange ETag does not."""
        for headers, expected in (
            ({"etag": 'W/"a"'}, None),
            ({"etag": '"a b\u0080"'}, None),
            ({"last-modified": "Sat, 01 Jan 2022 00:00:00 GMT"}, "Sat, 01 Jan 2022"),
        ):
            self.requests.clear()
            base = {"content-type": "application/octet-stream", **headers}
            whole = replace(_unified(), headers=base)
            self.fetch(_once_interrupted(whole, 3))
            found = self.requests[1].headers.get("If-Range")
            self.assertEqual(found and found[:16], expected)

    def test_every_byte(self) -> None:
        """Each offset is one at which both kinds of images are continued."""
        for whole, content in ((_unified(), _DATA), (_split(), _META + _ROOT)):
            for offset in range(len(whole.body)):
                self.requests.clear()
                self.fetch(
                    _once_interrupted(whole, offset),
                    content,
                )
                self.assertEqual(len(self.requests), 2)

    def test_other_bytes(self) -> None:
        """A rest of other bytes is noticed."""
        other = _unified(_DATA.upper())

        def server(number: int, request: Request) -> Reply:
            return _rest(other, request) if number else replace(_unified(), sent=9)

        self.fails(DoesNotMatch, server)

    def test_wrong_rest(self) -> None:
        """A response that is not the rest is refused."""
        total = len(_DATA)
        for content_range in (
            "",
            "garbage",
            f"bytes 8-{total - 1}/{total}",
            f"bytes 9-{total - 2}/{total}",
            f"bytes 9-{total}/{total + 1}",
            f"bytes 9-{total - 1}/*",
            f"bytes 9-{total - 1}/{'9' * 5000}",
        ):
            headers = {**_unified().headers, "content-range": content_range}
            reply = Reply(_DATA[9:], 206, headers)
            self._fails_with_rest(reply)

    def test_wrong_length(self) -> None:
        """A rest of another length than announced is refused."""
        rest = _rest(_unified(), Request("/", headers={"Range": "bytes=9-"}))
        self._fails_with_rest(replace(rest, body=rest.body + b"x"))
        self._fails_with_rest(replace(rest, body=rest.body + b"x", is_sized=False))

    def test_other_form(self) -> None:
        """A rest of a form with another boundary is refused."""
        rest = _rest(_split(), Request("/", headers={"Range": "bytes=9-"}))
        headers = {**rest.headers, "content-type": "multipart/form-data; boundary=c"}
        first, other = replace(_split(), sent=9), replace(rest, headers=headers)
        self.fails(ProtocolError, lambda n, r: other if n else first)

    def test_unasked_rest(self) -> None:
        """A part of the image is refused if all of it was asked for."""
        rest = _rest(_unified(), Request("/", headers={"Range": "bytes=0-"}))
        self.fails(ProtocolError, lambda n, r: rest)

    def test_not_satisfiable(self) -> None:
        """A server that does not have the rest is asked for all of it."""
        replies = [replace(_unified(), sent=9), Reply(b"", 416), _unified()]
        self.fetch(_in_turn(*replies))
        self.assertEqual(self.requests[2].headers, {})

    def test_refused_later(self) -> None:
        """A guest that may no longer download the image is told."""
        replies = [replace(_unified(), sent=9), Reply(b"not authorized", 403)]
        self.fails(Forbidden, _in_turn(*replies))

    def test_too_many_restarts(self) -> None:
        """A server that never sends all of an image is given up."""
        self.fails(ProtocolError, lambda n, r: replace(_unified(), sent=9))
        self.assertEqual(len(self.requests), MAX_RESTARTS + 2)

    def _fails_with_rest(self, rest: Reply) -> None:
        first = replace(_unified(), sent=9)
        self.fails(ProtocolError, lambda n, r: rest if n % 2 else first)
        self.requests.clear()


class PatienceTests(DownloadTestCase):
    """How long a download waits for the server."""

    def test_no_server(self) -> None:
        """If there is no server in the first place, the caller is told immediately."""
        self.assertEqual(self.fails(Unavailable, lambda n, r: None), "no server")
        self.assertEqual(self.clock.seconds(), 0)

    def test_server_comes_back(self) -> None:
        """A server may be away for almost a minute."""

        def server(number: int, request: Request) -> Reply | None:
            if number and self.clock.seconds() < PATIENCE - 1:
                return None
            return replace(_rest(_unified(), request), sent=None if number else 9)

        self.fetch(server)
        self.assertEqual(self.path.read_bytes(), _DATA)

    def test_server_stays_away(self) -> None:
        """After a minute without a byte, the download ends."""
        first = replace(_unified(), sent=9)
        text = self.fails(Unavailable, lambda n, r: None if n else first)
        self.assertEqual(text, "no further byte of the image within 60 s: no server")
        self.assertEqual(self.clock.seconds(), PATIENCE)

    def test_too_many_downloads(self) -> None:
        """A server that may answer otherwise in a moment is asked again."""
        for status in (429, 502, 503, 504):
            self.requests.clear()
            replies = [Reply(b"later", status), Reply(b"later", status), _unified()]
            self.fetch(_in_turn(*replies))
        self.path.unlink()
        text = self.fails(Unavailable, lambda n, r: Reply(b"too many downloads", 429))
        self.assertIn("too many downloads", text)

    def test_silence(self) -> None:
        """A connection may be silent for 30 seconds, but not when time is up."""
        download = ImageDownload("a" * 64, self.path, None, self.clock.seconds)
        self.assertEqual(download.silence(), 30)
        self.clock.advance(PATIENCE - 10)
        self.assertEqual(download.silence(), 10)

    def test_endless_refusal(self) -> None:
        """A refusal whose text does not end is one, and so is one that takes long."""
        self.fails(NotFound, lambda n, r: Reply(b"x" * 1_000_000, 404))
        download = ImageDownload("a" * 64, self.path, None, self.clock.seconds)
        download.begin(404, {}, None)
        download.receive(b"x")
        self.clock.advance(PATIENCE)
        self.assertRaises(NotFound, download.receive, b"x")


class MemoryStoreTests(DownloadTestCase):
    """The fingerprints of devlxd are those of the client."""

    def test_fingerprint(self) -> None:
        """The fingerprint of a split image is that of both files together."""
        found = MemoryImageStore().put(_META, _ROOT)
        self.assertEqual(found, hashlib.sha256(_META + _ROOT).hexdigest())

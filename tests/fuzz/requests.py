"""Bytes of requests: the responses are well-formed, and the same in any split."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from hypothesis import strategies as st

from tests.fuzz.mutations import mostly, mutated, pieces
from tests.fuzz.sites import IMAGE, FuzzedSite
from tests.fuzz.target import Target

TARGETS = [
    b"/",
    b"/1.0",
    b"/1.0/config",
    b"/1.0/config?recursion=1",
    b"/1.0/config/user.a",
    b"/1.0/config/user.big",
    b"/1.0/devices",
    b"/1.0/events",
    b"/1.0/events?type=config&since=2001-09-09T00:00:00Z",
    b"/1.0/meta-data",
    b"/1.0/images/%b/export" % hashlib.sha256(IMAGE).hexdigest().encode(),
    b"/1.0/images/%b/export" % hashlib.sha256(IMAGE + b"root").hexdigest().encode(),
    b"/1.0/nothing",
    b"http://lxd/1.0",
    b"*",
]

HEADERS = [
    b"Connection: close",
    b"Connection: keep-alive, Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Expect: 100-continue",
    b"Range: bytes=1-9",
    b"Range: bytes=-5, 7-, 100-200",
    b"If-None-Match: *",
    b'If-Match: "a", W/"b"',
    b"If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT",
    b"If-Range: Sun, 09 Sep 2001 01:46:40 GMT",
    b"Cookie: a=b",
    b"Content-Type: multipart/form-data; boundary=b",
    b"Accept-Encoding: gzip",
]

#: What has a meaning in a request.
TOKENS = [
    *(b"%b\r\n" % header for header in HEADERS),
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b":",
    b"\0",
    b"\xff",
    b"%2f%00%ff",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HTTP/9.9",
    b"Content-Length: 1\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"X: a\r\n" * 101,
    b"a" * 17_000,
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
]

#: The status line and the headers of a response.
_HEAD = re.compile(
    rb"HTTP/1\.[01] (?P<status>[1-5]\d\d) [ -~]+\r\n"
    rb"(?P<headers>(?:[A-Za-z-]+: [ -~]*\r\n)*)\r\n"
)
_LENGTH = re.compile(rb"^Content-Length: (\d+)\r$", re.MULTILINE)
_CHUNK = re.compile(rb"([0-9a-f]+)\r\n")


@st.composite
def valid_requests(draw: st.DrawFn) -> bytes:
    """Return one to five valid requests."""
    return b"".join(draw(st.lists(_request(), min_size=1, max_size=5)))


@st.composite
def _request(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from([b"GET", b"GET", b"HEAD", b"PATCH", b"POST"]))
    headers = draw(st.lists(st.sampled_from(HEADERS), max_size=3, unique=True))
    body = b""
    if method in (b"PATCH", b"POST") or draw(st.integers(0, 9)) == 0:
        state = draw(st.sampled_from(["Ready", "Started", "other"]))
        body = draw(st.just(b'{"state": "%b"}' % state.encode()) | st.binary())
        if draw(st.booleans()):
            headers.append(b"Content-Length: %d" % len(body))
        else:
            headers.append(b"Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body += b"0\r\n\r\n"
    target = draw(st.sampled_from(TARGETS))
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0"]))
    lines = [b"%b %b HTTP/%b" % (method, target, version), b"Host: lxd", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def count_responses(data: bytes, may_be_cut: bool = False) -> int:
    """Return the number of responses in ``data``, without those with status 1xx.

    :param may_be_cut: whether the last one may be incomplete.
    :raises AssertionError: if ``data`` contains anything else.
    """
    # Whether a response is one to HEAD is not known: it may have no body.
    possible = [(0, 0)]
    while possible:
        start, count = possible.pop()
        if start == len(data):
            return count
        head = _HEAD.match(data, start)
        if head is None:
            continue
        for end in _ends(data, head, may_be_cut):
            possible.append((end, count + (head["status"][:1] != b"1")))
    raise AssertionError(f"not only responses: {data[:2000]!r}")


def _ends(data: bytes, head: re.Match[bytes], may_be_cut: bool) -> Sequence[int]:
    """Return where the response after a head may end."""
    start, status = head.end(), head["status"]
    if status == b"101":
        # Frames follow.
        return [len(data)]
    if status in (b"100", b"204", b"304"):
        return [start]
    length = _LENGTH.search(head["headers"])
    if length is not None:
        end = start + int(length[1])
        if end > len(data) and may_be_cut:
            end = len(data)
        return [start, end] if end <= len(data) else [start]
    if b"Transfer-Encoding: chunked\r\n" not in head["headers"]:
        # An HTTP/1.0 stream, which ends with the connection.
        return [start, len(data)]
    return [start, _end_of_chunks(data, start)]


def _end_of_chunks(data: bytes, start: int) -> int:
    """Return the end of the chunks that are complete."""
    while start < len(data):
        size = _CHUNK.match(data, start)
        assert size is not None, data[start : start + 100]
        end = size.end() + int(size[1], 16)
        assert data[end : end + 2] == b"\r\n", data[start : end + 2]
        start = end + 2
        if not int(size[1], 16):
            break
    return start


def check(parts: list[bytes]) -> None:
    """Check the responses to the parts, and to the same bytes at once."""
    whole = b"".join(parts)
    split, at_once = FuzzedSite(), FuzzedSite()
    try:
        received, expected = split.talk(parts), at_once.talk([whole])
        assert received == expected, f"split: {received!r}\nat once: {expected!r}"
        received += split.wait()
        # Each request has the end of a head; a bad one need not, and is the last.
        most = whole.count(b"\r\n\r\n") + 1
        assert count_responses(received) <= most
        for site in (split, at_once):
            site.leave()
    finally:
        split.close()
        at_once.close()


#: Valid and damaged requests.
TARGET = Target(
    "requests",
    pieces(mostly(mutated(valid_requests(), TOKENS), st.binary(max_size=2000))),
    check,
)

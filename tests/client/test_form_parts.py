"""Tests of `devlxd.client.form_parts`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.client import ProtocolError
from devlxd.client.form_parts import (
    MAX_EPILOGUE,
    MAX_HEAD,
    FormReader,
    PartHead,
    parameter,
)

_HEAD = b'--b\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n\r\n'


def _read(body: bytes, cuts: list[int]) -> list[tuple[PartHead, bytes]]:
    """Return the parts of a form that arrives in pieces."""
    reader = FormReader("b")
    parts: list[tuple[PartHead, bytes]] = []
    ends = sorted({min(cut, len(body)) for cut in cuts} | {len(body)})
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        for item in reader.receive(body[start:end]):
            if isinstance(item, PartHead):
                parts.append((item, b""))
            else:
                parts[-1] = parts[-1][0], parts[-1][1] + item
    if not reader.is_complete:
        raise ProtocolError("not complete")
    return parts


class FormReaderTests(SynchronousTestCase):
    """`FormReader` yields the parts of a form."""

    @given(
        st.lists(st.lists(st.sampled_from([b"\r\n", b"--b", b"-", b"x"])), max_size=3),
        st.lists(st.integers(0, 300)),
    )
    def test_pieces(self, pieces: list[list[bytes]], cuts: list[int]) -> None:
        """The data of parts is exact, however the form is cut into pieces."""
        data = [b"".join(some) for some in pieces]
        data = [part for part in data if b"\r\n--b" not in b"\r\n" + part]
        body = b"\r\n".join([_HEAD + part for part in data] or [b"--b\r\nX"])
        if not data:
            return
        body += b"\r\n--b--\r\n\r\n--b--\r\n"
        expected = [(PartHead("a", "f"), part) for part in data]
        self.assertEqual(_read(body, cuts), expected)

    @given(st.binary(max_size=60), st.integers(0, 60), st.lists(st.integers(0, 200)))
    def test_garbage(self, garbage: bytes, at: int, cuts: list[int]) -> None:
        """What is not a form is refused with `ProtocolError`, and nothing else."""
        body = (_HEAD + b"x\r\n--b--\r\n")[:at] + garbage
        try:
            _read(body, cuts)
        except ProtocolError:
            return

    def test_malformed(self) -> None:
        """A form must begin with its boundary, and a boundary end its line."""
        for body in (
            b"preamble\r\n" + _HEAD,
            _HEAD.replace(b"--b", b"--c"),
            _HEAD + b"x\r\n--bx\r\n",
            b"--b\r\nContent-Type: text/plain\r\n\r\n",
            b'--b\r\nContent-Disposition: inline; name="a"\r\n\r\n',
        ):
            self.assertRaises(ProtocolError, _read, body, [])

    def test_endless_head(self) -> None:
        """A part whose head has no end is refused."""
        reader = FormReader("b")
        list(reader.receive(b"--b\r\n"))
        with self.assertRaises(ProtocolError):
            for _ in range(MAX_HEAD):
                list(reader.receive(b"X: y\r\n"))

    def test_endless_epilogue(self) -> None:
        """Endless data after the last part is refused."""
        reader = FormReader("b")
        list(reader.receive(_HEAD + b"x\r\n--b--"))
        list(reader.receive(b"x" * MAX_EPILOGUE))
        self.assertRaises(ProtocolError, list, reader.receive(b"x"))

    def test_boundary(self) -> None:
        """A boundary that is not valid is refused."""
        for boundary in ("", "x" * 71, "a\r\n", "é"):
            self.assertRaises(ProtocolError, FormReader, boundary)


class ParameterTests(SynchronousTestCase):
    """`parameter` reads the parameters of a header."""

    def test_forms(self) -> None:
        """A parameter may be plain, quoted, or encoded (RFC 8187)."""
        for value in (
            "inline;filename=a.txt",
            'inline; name="n"; filename="a.txt"',
            "inline;filename*=UTF-8''a%2Etxt",
        ):
            self.assertEqual(parameter(value, "filename"), "a.txt")
        self.assertEqual(parameter("inline", "filename"), "")

    @given(st.text(st.characters(max_codepoint=255), max_size=80))
    def test_garbage(self, text: str) -> None:
        """Whatever a header says, the result is text."""
        self.assertIsInstance(parameter(text, "filename"), str)

    def test_long(self) -> None:
        """A header that is too long has no parameters."""
        self.assertEqual(parameter("a;" * MAX_HEAD + "filename=b", "filename"), "")

# -*- test-case-name: tests.client.test_form_parts -*-
"""Reading a form of files (``multipart/form-data``, RFC 7578) as its data arrives.

The parser of the standard library needs the whole form in memory, and the synchronous
face of the guest library has no other. This one reads what LXD, Incus and devlxd send,
and nothing more: no text before the first part, no spaces after a boundary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from email.utils import collapse_rfc2231_value

from devlxd.client.errors import ProtocolError

#: The maximum length of the head of a part, and of a header with parameters, in bytes.
MAX_HEAD = 4096

#: The maximum length of what follows the last part, in bytes. LXD and Incus send the
#: closing boundary twice.
MAX_EPILOGUE = 1024

#: What may be a boundary (RFC 2046, section 5.1.1).
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")


@dataclass(frozen=True)
class PartHead:
    """The head of a part.

    :ivar name: the name of the field.
    :ivar filename: the name of the file, as the server writes it; ``""`` for none.
    """

    name: str
    filename: str


class FormReader:
    """A reader of the parts of a form, in their order.

    :param boundary: the ``boundary`` of its ``Content-Type``.
    :ivar framing: how many bytes so far were not data of a part.
    :ivar is_complete: whether all parts were read.
    :raises ProtocolError: if the boundary is not valid.
    """

    def __init__(self, boundary: str) -> None:
        if not _BOUNDARY.fullmatch(boundary):
            raise ProtocolError("the boundary of a form is not valid")
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        # The first delimiter has no line end of its own.
        self._buffer = bytearray(b"\r\n")
        self._read: Callable[[], PartHead | bytes | None] = self._read_first
        self._epilogue = 0
        self.framing = -2
        self.is_complete = False

    @property
    def closing_length(self) -> int:
        """How long the closing delimiter is, in bytes, with its line end."""
        return len(self._delimiter) + len(b"--\r\n")

    def receive(self, data: bytes) -> Iterator[PartHead | bytes]:
        """Yield the heads of parts, each followed by the data of the part in pieces.

        :raises ProtocolError: if the form is malformed.
        """
        self._buffer += data
        while (item := self._read()) is not None:
            if item != b"":
                yield item

    def _read_first(self) -> PartHead | bytes | None:
        """Read the delimiter that the form begins with."""
        if len(self._buffer) < len(self._delimiter):
            return None
        if not self._buffer.startswith(self._delimiter):
            raise ProtocolError("a form does not begin with its boundary")
        return self._take_delimiter()

    def _read_data(self) -> PartHead | bytes | None:
        """Read data, up to the next delimiter."""
        end = self._buffer.find(self._delimiter)
        if end == 0:
            return self._take_delimiter()
        # The delimiter may have arrived in part.
        size = end if end > 0 else len(self._buffer) - len(self._delimiter) + 1
        if size <= 0:
            return None
        data = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        return data

    def _read_delimiter_end(self) -> PartHead | bytes | None:
        """Read what follows a delimiter: it tells whether another part does."""
        if len(self._buffer) < 2:
            return None
        end = self._take(2)
        if end == b"--":
            self.is_complete = True
            self._read = self._read_epilogue
        elif end == b"\r\n":
            self._read = self._read_head
        else:
            raise ProtocolError("a boundary of a form is not alone in its line")
        return b""

    def _read_head(self) -> PartHead | bytes | None:
        """Read the head of a part, up to the empty line."""
        end = self._buffer.find(b"\r\n\r\n", 0, MAX_HEAD)
        if end < 0 and len(self._buffer) < MAX_HEAD:
            return None
        if end < 0:
            raise ProtocolError(f"the head of a part has more than {MAX_HEAD} bytes")
        head = self._take(end + len(b"\r\n\r\n"))
        self._read = self._read_data
        return _part_head(head[:end].decode("latin-1"))

    def _read_epilogue(self) -> PartHead | bytes | None:
        """Ignore what follows the last part."""
        self._epilogue += len(self._take(len(self._buffer)))
        if self._epilogue > MAX_EPILOGUE:
            raise ProtocolError("too much data follows the last part of a form")
        return None

    def _take_delimiter(self) -> bytes:
        self._take(len(self._delimiter))
        self._read = self._read_delimiter_end
        return b""

    def _take(self, size: int) -> bytes:
        taken = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        self.framing += size
        return taken


def parameter(value: str, name: str) -> str:
    """Return a parameter of a header; ``""`` if there is none.

    :param value: for example ``form-data; name="rootfs"``.
    """
    message = Message()
    # What is longer takes too long to parse.
    message["Content-Disposition"] = value if len(value) <= MAX_HEAD else ""
    found = message.get_param(name, "", "Content-Disposition")
    return collapse_rfc2231_value(found) if found else ""


def kind(value: str) -> str:
    """Return what a header says before its parameters, in lower case."""
    return value.partition(";")[0].strip().lower()


def _part_head(text: str) -> PartHead:
    for line in text.split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "content-disposition" and kind(value) == "form-data":
            return PartHead(parameter(value, "name"), parameter(value, "filename"))
    raise ProtocolError("a part of a form is not a field of it")

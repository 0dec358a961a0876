# -*- test-case-name: tests.httpserver.test_paced_body -*-
"""A sink for tests of streams."""

from __future__ import annotations

from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd.interfaces import ISink


@implementer(ISink)
class RecordingSink:
    """A sink that records the data of a stream, and the end of the response.

    :ivar written: the data of each call of `write`.
    :ivar ends: for each call of a method that ends the response, the name of the
        method and its argument, or ``""`` if it has none.
    """

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.ends: list[tuple[str, str | Failure]] = []

    def write(self, data: bytes) -> None:
        """See `ISink.write`.

        :raises AssertionError: if the response has ended.
        """
        assert not self.ends, "data after the end"
        self.written.append(data)

    @staticmethod
    def frame(message: bytes) -> bytes:
        """See `ISink.frame`."""
        return message

    def write_framed(self, data: bytes) -> None:
        """See `ISink.write_framed`."""
        self.write(data)

    def finish(self, reason: str = "") -> None:
        """See `ISink.finish`."""
        self.ends.append(("finish", reason))

    def cut_off(self, reason: str) -> None:
        """See `ISink.cut_off`."""
        self.ends.append(("cut_off", reason))

    def abort(self) -> None:
        """See `ISink.abort`."""
        self.ends.append(("abort", ""))

    def fail(self, failure: Failure) -> None:
        """See `ISink.fail`."""
        self.ends.append(("fail", failure))

    def data(self) -> bytes:
        """Return all written data."""
        return b"".join(self.written)

    def how_ended(self) -> list[str]:
        """Return the names of the methods that have ended the response."""
        return [method for method, _ in self.ends]

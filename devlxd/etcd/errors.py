# -*- test-case-name: tests.etcd.test_messages -*-
"""The errors of etcd, by their codes."""

from __future__ import annotations

#: The codes of gRPC that matter, which etcd sends in its errors. The HTTP status of
#: the same error differs between versions of etcd.
INVALID_ARGUMENT = 3
FAILED_PRECONDITION = 9
OUT_OF_RANGE = 11
UNAVAILABLE = 14
UNAUTHENTICATED = 16


class EtcdError(Exception):
    """Raised when etcd does not answer, or answers with an error.

    The text is one line, and contains no secret.

    :ivar code: the code of gRPC; ``None`` if etcd did not answer in its own terms.
    """

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


class TooLargeError(EtcdError):
    """Raised when an answer, or a line of a watch, is longer than allowed."""

# -*- test-case-name: tests.images.test_upstream_client -*-
"""Raising `ImageError` for bad data, and describing failed HTTP requests."""

from __future__ import annotations

from twisted.web.client import ResponseFailed

from devlxd.interfaces import ImageError


def require(condition: bool, otherwise: str) -> None:
    """Check a condition on data from an upstream server.

    :param otherwise: the text of the error.
    :raises ImageError: if the condition is false.
    """
    if not condition:
        raise ImageError(otherwise)


def describe(error: BaseException) -> str:
    """Return in a few words why an HTTP request has failed."""
    if isinstance(error, ResponseFailed) and error.reasons:
        return describe(error.reasons[0].value)
    return str(error) or type(error).__name__

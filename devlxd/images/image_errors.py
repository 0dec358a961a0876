# -*- test-case-name: tests.images.test_upstream_client -*-
"""Raising `ImageError` for bad data."""

from __future__ import annotations

from devlxd.interfaces import ImageError


def require(condition: bool, otherwise: str) -> None:
    """Check a condition on data from an upstream server.

    :param otherwise: the text of the error.
    :raises ImageError: if the condition is false.
    """
    if not condition:
        raise ImageError(otherwise)

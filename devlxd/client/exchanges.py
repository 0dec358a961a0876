# -*- test-case-name: tests.client.test_questions -*-
"""Requests and responses, as the parts of the guest library exchange them.

These are named tuples: a command that asks one question starts faster without the
module ``dataclasses``.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Request(NamedTuple):
    """A request, for a face to send.

    :ivar path: the path and the query, percent-encoded.
    :ivar headers: further headers than those that every request has.
    """

    path: str
    method: str = "GET"
    body: bytes | None = None
    headers: Mapping[str, str] = MappingProxyType({})


class Response(NamedTuple):
    """A response, as a face has received it.

    :ivar headers: by their names in lower case; of repeated ones the last.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


#: What a question asks, in order. A face sends each request, and sends the response
#: back into the generator, which returns the result.
Question = Generator[Request, Response, T]

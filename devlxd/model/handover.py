# -*- test-case-name: tests.test_model -*-
"""Connections that one process of devlxd hands over to the next one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Union

from attrs import field, frozen

#: What a record consists of: the values of JSON.
JSONValue = Union[
    None, bool, int, float, str, "list[JSONValue]", "dict[str, JSONValue]"
]


@frozen
class HandedOver:
    """A connection on its way from one process to the next.

    :ivar descriptor: the file descriptor of its socket. The owner of this value closes
        it.
    :ivar record: what the next process needs to continue it. Only the package that
        makes the records reads them.
    """

    descriptor: int
    record: Mapping[str, JSONValue] = field(repr=False)

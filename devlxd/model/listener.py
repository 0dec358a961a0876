# -*- test-case-name: tests.test_model -*-
"""The endpoints on which devlxd listens."""

from __future__ import annotations

from attrs import frozen


@frozen
class Listener:
    """An endpoint for guests.

    :ivar dialect: the name of the dialect that is served there.
    :ivar address: the path of the socket, or a text for an address of another kind.
    :ivar is_listening: whether devlxd listens there now.
    """

    dialect: str
    address: str
    is_listening: bool

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
    :ivar sockets: how many containers have a socket of their own there; ``None`` if all
        containers have the same one.
    :ivar missing: how many containers should have a socket there, but have none.
    """

    dialect: str
    address: str
    is_listening: bool
    sockets: int | None = None
    missing: int = 0

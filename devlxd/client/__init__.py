"""The guest's end of the API: a library for programs in containers.

This package contains:

* `Guest`, for programs that run on Twisted: coroutines on treq and autobahn.
* ``devlxd.client.sync.Guest``, the same for programs without Twisted. It needs the
  standard library alone, and importing it imports nothing else.
* what both return and raise: `Event`, `Lost`, and the exceptions of `GuestError`.

Both work with devlxd in every dialect, with LXD and with Incus. What to ask, and what
an answer means, is written once, without input and output: in ``questions.py``,
``event_feed.py`` and ``image_download.py``. The two faces send and receive.

It imports nothing of the server: a container can have this package without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from devlxd.client.errors import (
    DoesNotMatch,
    Forbidden,
    GuestError,
    NotFound,
    NotSupported,
    ProtocolError,
    Unavailable,
)

if TYPE_CHECKING:
    from devlxd.client.guest import Guest
    from devlxd.client.interfaces import IGuest
    from devlxd.client.values import Event, Lost

__all__ = [
    "DoesNotMatch",
    "Event",
    "Forbidden",
    "Guest",
    "GuestError",
    "IGuest",
    "Lost",
    "NotFound",
    "NotSupported",
    "ProtocolError",
    "Unavailable",
]

#: The names whose modules are imported on first use: they need Twisted, or are not
#: needed for a question.
_MODULES = {
    "Event": "devlxd.client.values",
    "Guest": "devlxd.client.guest",
    "IGuest": "devlxd.client.interfaces",
    "Lost": "devlxd.client.values",
}


def __getattr__(name: str) -> object:
    """Import and return a public name (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_MODULES[name]), name)
    return value

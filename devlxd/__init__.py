"""devlxd: the guest API of LXD, ``/dev/lxd/sock``, as a Twisted service.

A host agent imports what it needs from here. `devlxd.interfaces` has the interfaces
that it may provide, `devlxd.testing` has fakes and contract suites for its tests.
Everything else is private, except the names in the API reference.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devlxd.containers.directory_store import DirectoryStore
    from devlxd.containers.document_warnings import AccessKeys
    from devlxd.containers.etcd_store import EtcdStore
    from devlxd.containers.memory_store import MemoryStore
    from devlxd.containers.store_base import ContainerStoreBase
    from devlxd.events.journal import SQLiteJournal
    from devlxd.guest_states.memory import MemoryGuestStates
    from devlxd.guest_states.sqlite_states import SQLiteGuestStates
    from devlxd.guestapi.dialect import Dialect
    from devlxd.guestapi.dialects import DEFAULT_DIALECT, DIALECTS
    from devlxd.host.inotify import INotify
    from devlxd.host.listening import endpoint_at
    from devlxd.images.directory_image_store import DirectoryImageStore
    from devlxd.limits import CurrentLimits
    from devlxd.model import Container, Limits
    from devlxd.service import DevLXDService

__version__ = "0.1.0"

#: Where each public name is defined. A module is imported when one of its names is
#: first used: a program that uses only a part of devlxd imports only that part.
_MODULES = {
    "AccessKeys": "devlxd.containers.document_warnings",
    "Container": "devlxd.model",
    "ContainerStoreBase": "devlxd.containers.store_base",
    "CurrentLimits": "devlxd.limits",
    "DEFAULT_DIALECT": "devlxd.guestapi.dialects",
    "DIALECTS": "devlxd.guestapi.dialects",
    "DevLXDService": "devlxd.service",
    "Dialect": "devlxd.guestapi.dialect",
    "DirectoryStore": "devlxd.containers.directory_store",
    "DirectoryImageStore": "devlxd.images.directory_image_store",
    "EtcdStore": "devlxd.containers.etcd_store",
    "INotify": "devlxd.host.inotify",
    "Limits": "devlxd.model",
    "MemoryGuestStates": "devlxd.guest_states.memory",
    "MemoryStore": "devlxd.containers.memory_store",
    "SQLiteGuestStates": "devlxd.guest_states.sqlite_states",
    "SQLiteJournal": "devlxd.events.journal",
    "endpoint_at": "devlxd.host.listening",
}

__all__ = [
    "DEFAULT_DIALECT",
    "DIALECTS",
    "AccessKeys",
    "Container",
    "ContainerStoreBase",
    "CurrentLimits",
    "DevLXDService",
    "Dialect",
    "DirectoryImageStore",
    "DirectoryStore",
    "EtcdStore",
    "INotify",
    "Limits",
    "MemoryGuestStates",
    "MemoryStore",
    "SQLiteGuestStates",
    "SQLiteJournal",
    "__version__",
    "endpoint_at",
]


def __getattr__(name: str) -> object:
    """Import and return a public name (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    """Return the names of this module, including those that ``__getattr__`` imports."""
    return sorted({*globals(), *__all__})

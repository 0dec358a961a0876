"""A change of one key, as it is passed on."""

from __future__ import annotations

from attrs import frozen

from devlxd.etcd.messages import KeyValue


@frozen
class Change:
    """A change of one key.

    :ivar key: the key, without the prefix.
    :ivar kv: the key after the change; ``None`` if it was removed.
    :ivar origin: differs between two keys of the same name one after the other; empty
        for a removed key.
    :ivar is_new: whether the key was removed and created again since the last change
        that is known.
    """

    key: bytes
    kv: KeyValue | None
    origin: str = ""
    is_new: bool = False

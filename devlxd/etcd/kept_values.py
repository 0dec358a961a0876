# -*- test-case-name: tests.etcd.test_kept_file -*-
"""What is kept of etcd over a restart of devlxd."""

from __future__ import annotations

from attrs import field, frozen


@frozen
class KeptDocument:
    """What is kept of one key.

    :ivar create_revision: see `KeyValue`.
    :ivar mod_revision: see `KeyValue`.
    :ivar origin: see `Change`.
    :ivar value: the last value; ``None`` if it was too large.
    :ivar is_good: whether ``value`` was used.
    :ivar good: the last value that was used, if ``value`` was not; ``None`` if there is
        none.
    """

    create_revision: int
    mod_revision: int
    origin: str
    value: bytes | None = field(repr=False)
    is_good: bool = False
    good: bytes | None = field(default=None, repr=False)


@frozen
class Position:
    """Up to where etcd was followed.

    :ivar cluster_id: the id of the cluster; empty if it was never followed.
    :ivar timeline: see `Replica.timeline`.
    :ivar revision: the revision up to which all changes are kept.
    :ivar agreed: when etcd has confirmed that, in seconds since 1970.
    :ivar is_exact: whether exactly the changes up to ``revision`` are kept.
    """

    cluster_id: str = ""
    timeline: str = ""
    revision: int = 0
    agreed: float = 0.0
    is_exact: bool = False

# -*- test-case-name: tests.etcd.test_replica -*-
"""What is known of the keys below a prefix, and which events are new."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from hashlib import blake2b

from attrs import field, frozen

from devlxd.etcd.changes import Change
from devlxd.etcd.messages import KeyValue, WatchEvent


@frozen
class Held:
    """What is known of one key.

    :ivar create_revision: see `KeyValue`.
    :ivar mod_revision: see `KeyValue`.
    :ivar digest: see `digest_of`.
    """

    create_revision: int
    mod_revision: int
    digest: bytes

    @classmethod
    def of(cls, kv: KeyValue) -> Held:
        """Return what is known of a key after a change."""
        return cls(kv.create_revision, kv.mod_revision, digest_of(kv.value))

    def has_revisions_of(self, kv: KeyValue) -> bool:
        """Return whether a key has the revisions that are known."""
        own = (self.create_revision, self.mod_revision)
        return own == (kv.create_revision, kv.mod_revision)


def digest_of(value: bytes | None) -> bytes:
    """Return a digest of a value; that of one that is too large is empty."""
    return b"" if value is None else blake2b(value, digest_size=16).digest()


@frozen
class Known:
    """What is known at the beginning.

    :ivar cluster_id: the id of the cluster; empty if nothing is known.
    :ivar timeline: see `Replica.timeline`.
    :ivar revision: the revision up to which all changes are known.
    :ivar held: the keys, without the prefix.
    :ivar is_exact: whether ``held`` has exactly the changes up to ``revision``. If
        not, the next list replaces it.
    """

    cluster_id: str = ""
    timeline: str = ""
    revision: int = 0
    held: Mapping[bytes, Held] = field(factory=dict)
    is_exact: bool = False


def new_timeline() -> str:
    """Return a name for a history of etcd that was never used."""
    return secrets.token_hex(8)


class Replica:
    """The keys below a prefix as far as they are known.

    :param prefix: what all keys begin with.
    :param known: what is known at the beginning.
    :ivar held: what is known of each key, without the prefix.
    :ivar cluster_id: the id of the cluster; empty if nothing is known.
    :ivar revision: the revision up to which all changes are known.
    :ivar timeline: the name of the history that the revisions are in. An etcd that was
        wiped, or restored, has another history with the same cluster id.
    :ivar is_exact: whether later changes can be added one by one.
    """

    def __init__(self, prefix: bytes, known: Known | None = None) -> None:
        known = known or Known()
        self._prefix = prefix
        self.held: dict[bytes, Held] = dict(known.held)
        self.cluster_id = known.cluster_id
        self.revision = known.revision
        self.timeline = known.timeline or new_timeline()
        self.is_exact = known.is_exact
        # The newest revision of the events that were received, and those of keys that
        # were changed behind `revision`: the rest of a revision may follow.
        self._newest = self.revision
        self._ahead: dict[bytes, int] = {}
        # The number of keys after each revision, while it is recorded.
        self._counts: list[tuple[int, int]] | None = None

    def name_of(self, kv: KeyValue) -> bytes:
        """Return a key without the prefix."""
        return kv.key[len(self._prefix) :]

    def apply(self, events: Iterable[WatchEvent], is_fragment: bool) -> list[Change]:
        """Apply events; return those of them that are new.

        etcd may send events twice, and also older ones.

        :param is_fragment: whether more events of the same revision follow.
        """
        changes: list[Change] = []
        for event in events:
            revision = event.kv.mod_revision
            key = self.name_of(event.kv)
            if event.kv.key.startswith(self._prefix) and not self.has_seen(
                key, revision
            ):
                self._ahead[key] = revision
                self._newest = max(self._newest, revision)
                changes += self._apply(key, event)
                self._record_count(revision)
        if not is_fragment:
            self.revision = self._newest
            self._ahead.clear()
        return changes

    def _apply(self, key: bytes, event: WatchEvent) -> list[Change]:
        held = self.held.get(key)
        if event.is_removal:
            self.held.pop(key, None)
            return [] if held is None else [Change(key, None)]
        kv = event.kv
        self.held[key] = Held.of(kv)
        is_new = held is not None and held.create_revision != kv.create_revision
        return [Change(key, kv, self.origin_of(kv), is_new)]

    def has_seen(self, key: bytes, revision: int) -> bool:
        """Return whether the change of a key in a revision was applied."""
        held = self.held.get(key)
        known = held.mod_revision if held is not None else 0
        return revision <= max(self.revision, known, self._ahead.get(key, 0))

    def origin_of(self, kv: KeyValue) -> str:
        """Return a text that differs between two keys of the same name."""
        return f"{self.timeline}:{kv.create_revision}"

    @property
    def is_settled(self) -> bool:
        """Whether exactly the changes up to `revision` were applied."""
        return self.is_exact and not self._ahead

    def begin(self, cluster_id: str, revision: int, is_same_history: bool) -> None:
        """Begin again with what a list has.

        :param revision: the revision of the list.
        :param is_same_history: whether the list continues what was known.
        """
        if not is_same_history:
            self.timeline = new_timeline()
        self.cluster_id, self.revision, self.is_exact = cluster_id, revision, True
        self._newest = revision
        self._ahead.clear()

    def record_counts(self, is_recorded: bool) -> None:
        """Record the number of keys after each revision from now on, or no longer."""
        self._counts = [(self.revision, len(self.held))] if is_recorded else None

    def _record_count(self, revision: int) -> None:
        if self._counts is not None:
            self._counts.append((revision, len(self.held)))

    def count_at(self, revision: int) -> int | None:
        """Return how many keys there were after a revision; ``None`` if unknown."""
        counts = [count for at, count in self._counts or () if at <= revision]
        return counts[-1] if counts else None

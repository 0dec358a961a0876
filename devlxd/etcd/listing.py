# -*- test-case-name: tests.etcd.test_replica -*-
"""A list of all keys, and what it says about what is known."""

from __future__ import annotations

from collections.abc import Iterable

from devlxd.etcd.changes import Change
from devlxd.etcd.messages import KeyValue, RangeAnswer
from devlxd.etcd.replica import Held, Replica, digest_of


class Listing:
    """A list of all keys that is being received, compared with a replica.

    Nothing changes the replica meanwhile. Values that are known are not kept.

    :param replica: what is known.
    :param first: the first page, whose revision is that of all pages.
    :ivar revision: the revision of the list.
    :ivar contradicts: whether a key differs that has not changed since the revision
        that is known.
    """

    def __init__(self, replica: Replica, first: RangeAnswer) -> None:
        self._replica = replica
        self._cluster_id = first.cluster_id
        self.revision = first.revision
        self._seen: set[bytes] = set()
        self._differing: list[KeyValue] = []
        self.contradicts = False

    def add(self, kvs: Iterable[KeyValue]) -> None:
        """Add the keys of a page."""
        for kv in kvs:
            key = self._replica.name_of(kv)
            held = self._replica.held.get(key)
            self._seen.add(key)
            if held is None or not _is_same(held, kv):
                self._differing.append(kv)
                if kv.mod_revision <= self._replica.revision:
                    self.contradicts = True

    @property
    def is_other_cluster(self) -> bool:
        """Whether the list is from another cluster than the one that is known."""
        return self._replica.cluster_id not in ("", self._cluster_id)

    def other_history(self, is_incomplete: bool) -> str:
        """Return why the list is not from the history that is known.

        The revision and the keys decide: an etcd that was wiped or restored has the
        same ids as before.

        :param is_incomplete: whether changes are missing in what is known: keys may
            differ then.
        :return: one line; empty if it may be from the same history.
        """
        replica = self._replica
        if not replica.cluster_id:
            return ""
        if self.is_other_cluster:
            return "it is another cluster"
        if self.revision < replica.revision:
            return f"its revision is {self.revision}, and was {replica.revision}"
        lacks = self.revision == replica.revision and replica.held.keys() - self._seen
        if (self.contradicts or lacks) and not is_incomplete:
            return "it has other keys in revisions that are known"
        return ""

    def take(self, is_same_history: bool) -> list[Change]:
        """Replace what is known by the list.

        In another history, a container whose key was created again is the same one: an
        operator has restored it.

        :param is_same_history: whether the list continues what is known.
        :return: the differences, removals first.
        """
        replica = self._replica
        before = replica.held
        changes = [Change(key, None) for key in before if key not in self._seen]
        replica.begin(self._cluster_id, self.revision, is_same_history)
        replica.held = {key: before[key] for key in before if key in self._seen}
        for kv in self._differing:
            key = replica.name_of(kv)
            held = before.get(key)
            is_new = (
                is_same_history
                and held is not None
                and held.create_revision != kv.create_revision
            )
            replica.held[key] = Held.of(kv)
            changes.append(Change(key, kv, replica.origin_of(kv), is_new))
        return changes


def _is_same(held: Held, kv: KeyValue) -> bool:
    return held.has_revisions_of(kv) and held.digest == digest_of(kv.value)

# -*- test-case-name: tests.etcd.test_comparison -*-
"""Comparing what is known with etcd: whether all changes have arrived.

Changes go on while etcd is asked. What differs may be on its way, so only what still
differs some time later counts.
"""

from __future__ import annotations

from collections.abc import Iterable

from devlxd.etcd.messages import KeyRange, KeyValue, RangeAnswer, RangeRequest
from devlxd.etcd.replica import Replica


class Comparison:
    """A cheap comparison: the number of the keys, and one key that has changed.

    A put that is missing shows as a changed key until a later one arrives, a removal in
    the number.

    :param replica: what is known. It records the numbers of keys until `close`.
    :param keys: the range of the keys.
    :ivar request: the question.
    """

    def __init__(self, replica: Replica, keys: KeyRange) -> None:
        self._replica = replica
        self._began = replica.revision
        replica.record_counts(True)
        self.request = RangeRequest(
            keys, limit=1, min_mod_revision=replica.revision + 1, keys_only=True
        )

    def is_confirmed(self, answer: RangeAnswer) -> bool:
        """Return whether everything that etcd had when it answered has arrived."""
        replica = self._replica
        if answer.cluster_id != replica.cluster_id or answer.revision < self._began:
            return False
        count = replica.count_at(answer.revision)
        return count in (None, answer.count) and all(
            replica.has_seen(replica.name_of(kv), kv.mod_revision) for kv in answer.kvs
        )

    def close(self) -> None:
        """End the comparison."""
        self._replica.record_counts(False)


def doubtful_keys(
    replica: Replica, kvs: Iterable[KeyValue], revision: int
) -> set[tuple[bytes, int]]:
    """Return the keys that differ from a list without values.

    :param revision: the revision of the list.
    :return: keys without the prefix, and their revisions in etcd; 0 for removed ones.
    """
    listed = {replica.name_of(kv): kv for kv in kvs}
    doubtful = set()
    for key, kv in listed.items():
        held = replica.held.get(key)
        if held is None or not (
            held.has_revisions_of(kv) or held.mod_revision > revision
        ):
            doubtful.add((key, kv.mod_revision))
    for key, held in replica.held.items():
        if key not in listed and held.mod_revision <= revision:
            doubtful.add((key, 0))
    return doubtful

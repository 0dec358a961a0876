# -*- test-case-name: tests.etcd.test_memory_etcd -*-
"""The keys of an etcd in memory, in all of its revisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import frozen

from devlxd.etcd.errors import OUT_OF_RANGE, EtcdError
from devlxd.etcd.messages import KeyValue, RangeAnswer, RangeRequest, WatchEvent

#: What etcd sends for a key besides the base64 of the key and the value, in bytes.
_OVERHEAD = 128


@frozen
class EtcdSnapshot:
    """The whole content of an etcd, to be restored later."""

    keys: Mapping[bytes, KeyValue]
    history: tuple[tuple[WatchEvent, ...], ...]


class EtcdHistory:
    """The keys of an etcd, in all of its revisions.

    :ivar cluster_id: the id of the cluster, which a wiped etcd keeps.
    """

    def __init__(self) -> None:
        self.cluster_id = "17"
        self._compacted = 0
        # The events of each revision, from 2 on.
        self._history: list[tuple[WatchEvent, ...]] = []
        self._keys: dict[bytes, KeyValue] = {}

    @property
    def revision(self) -> int:
        """The present revision."""
        return 1 + len(self._history)

    def put(self, key: str, value: str | bytes) -> None:
        """Put a key."""
        self.transaction({key: value})

    def delete(self, key: str) -> None:
        """Remove a key; do nothing if there is none."""
        self.transaction({key: None})

    def transaction(self, changes: Mapping[str, str | bytes | None]) -> None:
        """Put and remove keys in one revision."""
        revision = self.revision + 1
        events = []
        for text, value in changes.items():
            key = text.encode("utf-8", "surrogateescape")
            before = self._keys.get(key)
            if value is None:
                if before is not None:
                    del self._keys[key]
                    kv = KeyValue(key, None, 0, revision)
                    events.append(WatchEvent(kv, is_removal=True))
                continue
            content = value.encode() if isinstance(value, str) else value
            created = revision if before is None else before.create_revision
            kv = self._keys[key] = KeyValue(key, content, created, revision)
            events.append(WatchEvent(kv))
        if events:
            self._history.append(tuple(events))

    def compact(self, revision: int) -> None:
        """Forget the changes before a revision."""
        self._compacted = revision

    def snapshot(self) -> EtcdSnapshot:
        """Return the whole content."""
        return EtcdSnapshot(dict(self._keys), tuple(self._history))

    def restore(self, snapshot: EtcdSnapshot | None = None) -> None:
        """Take another content; default: nothing. The ids stay."""
        snapshot = snapshot or EtcdSnapshot({}, ())
        self._keys, self._history = dict(snapshot.keys), [*snapshot.history]
        self._compacted = 0

    def answer(self, request: RangeRequest) -> RangeAnswer:
        """Return the answer to a request.

        :raises EtcdError: if the revision was compacted, or is in the future.
        """
        asked = request.revision or self.revision
        if not self._compacted <= asked <= self.revision:
            raise EtcdError("required revision has been compacted", OUT_OF_RANGE)
        kvs = [
            kv
            for key, kv in sorted(self._keys_at(request.revision).items())
            if request.keys.start <= key < request.keys.end
        ]
        found = [kv for kv in kvs if kv.mod_revision >= request.min_mod_revision]
        sent = tuple(found[: request.limit or None])
        if request.keys_only:
            sent = tuple(
                KeyValue(kv.key, None, kv.create_revision, kv.mod_revision)
                for kv in sent
            )
        more = len(sent) < len(found)
        size = sum(map(size_of, sent))
        return RangeAnswer(self.cluster_id, self.revision, sent, len(kvs), more, size)

    def _keys_at(self, revision: int) -> Mapping[bytes, KeyValue]:
        if not revision or revision == self.revision:
            return self._keys
        keys: dict[bytes, KeyValue] = {}
        for event in self.events(2, revision):
            if event.is_removal:
                keys.pop(event.kv.key, None)
            else:
                keys[event.kv.key] = event.kv
        return keys

    def events(self, first: int, last: int) -> Iterable[WatchEvent]:
        """Yield the events of revisions, the last one included."""
        for events in self._history[max(0, first - 2) : max(0, last - 1)]:
            yield from events

    def compacted_after(self, revision: int) -> int:
        """Return the first revision that is known; 0 if it is not after another one."""
        return self._compacted if revision < self._compacted else 0


def size_of(kv: KeyValue) -> int:
    """Return what etcd sends for a key, in bytes."""
    return _OVERHEAD + (len(kv.key) + len(kv.value or b"")) * 4 // 3

# -*- test-case-name: tests.containers.test_etcd_store -*-
"""The documents of etcd that are kept over a restart, for a store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from twisted.internet.interfaces import IReactorTime

from devlxd.containers.pending_changes import Pending
from devlxd.etcd.changes import Change
from devlxd.etcd.kept_documents import KeptDocuments
from devlxd.etcd.kept_file import KeptFile
from devlxd.etcd.kept_values import KeptDocument, Position
from devlxd.etcd.messages import KeyValue
from devlxd.etcd.replica import Held, Known, digest_of
from devlxd.turns import Slices


class KeptChanges:
    """What is kept: what the store serves at its start, and what it writes later.

    :param path: the path of the file; ``None`` if nothing is kept.
    :param reactor: schedules the writes.
    :ivar agreed: when what was kept was last confirmed, in seconds since 1970.
    """

    def __init__(self, path: str | None, reactor: IReactorTime) -> None:
        self._documents = (
            None if path is None else KeptDocuments(KeptFile(path), reactor)
        )
        self.agreed = 0.0
        # What is kept and was not served yet.
        self._unserved: dict[bytes, KeptDocument] = {}

    def open(self, position: Callable[[], Position | None]) -> Known:
        """Open the file; return what is known.

        :param position: see `KeptDocuments.open`.
        """
        if self._documents is None:
            return Known()
        kept, self._unserved = self._documents.open(position)
        self.agreed = kept.agreed
        held = {
            key: Held(one.create_revision, one.mod_revision, digest_of(one.value))
            for key, one in self._unserved.items()
        }
        return Known(kept.cluster_id, kept.timeline, kept.revision, held, kept.is_exact)

    def close(self) -> None:
        """Write everything, and close the file."""
        self._unserved = {}
        if self._documents is not None:
            self._documents.close()

    def discard(self, key: bytes) -> None:
        """Do not serve a document that was kept: there is a newer one."""
        self._unserved.pop(key, None)

    def take(self) -> Iterator[Pending]:
        """Yield the changes from nothing to the documents that were kept, once."""
        unserved, self._unserved = self._unserved, {}
        for key, document in unserved.items():
            revisions = document.create_revision, document.mod_revision
            kv = KeyValue(key, document.value, *revisions)
            yield Pending(Change(key, kv, document.origin), document.good)

    def received(self, changes: Iterable[Change], is_list: bool = False) -> None:
        """Keep changes.

        :param is_list: whether they make a list complete.
        """
        if self._documents is None:
            return
        if is_list:
            self._documents.begin_list()
        for change in changes:
            if change.kv is None or change.is_new:
                self._documents.remove(change.key)
            if change.kv is not None:
                kv, origin = change.kv, change.origin
                document = KeptDocument(
                    kv.create_revision, kv.mod_revision, origin, kv.value
                )
                self._documents.put(change.key, document)

    def write_before(self, key: bytes) -> Slices[None]:
        """Write what has to be kept before the change of a key is used, in slices."""
        while self._documents is not None and self._documents.is_to_be_written(key):
            self._documents.write_some(key)
            yield

    def used(self, change: Change, is_superseded: bool) -> None:
        """Note that a document can be used.

        :param is_superseded: whether a newer one waits.
        """
        if self._documents is not None and change.kv is not None:
            kv = change.kv
            revision, value = kv.mod_revision, kv.value
            self._documents.used(change.key, revision, value, is_superseded)

    def confirmed(self) -> None:
        """Write the new position soon."""
        if self._documents is not None:
            self._documents.confirmed()

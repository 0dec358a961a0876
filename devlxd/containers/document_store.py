# -*- test-case-name: tests.containers.test_stores -*-
"""The base class of stores whose containers are written in documents."""

from __future__ import annotations

from collections.abc import Sequence

from devlxd.containers.document_records import DocumentRecords
from devlxd.containers.store_base import ContainerStoreBase
from devlxd.model import Fault


class DocumentStoreBase(ContainerStoreBase):
    """A base class of stores that implements most of `IDocuments`.

    A subclass sets the attribute.
    """

    _documents: DocumentRecords

    def document_of(self, name: str) -> str | None:
        """See `IDocuments.document_of`."""
        return self._documents.path_of(name)

    def faults(self) -> Sequence[Fault]:
        """See `IDocuments.faults`."""
        return [*self._documents.faults(self.shared_ids())]

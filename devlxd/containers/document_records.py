# -*- test-case-name: tests.containers.test_directory_faults -*-
"""Where the documents of containers are, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path

from devlxd.containers.document_parser import ParsedDocument
from devlxd.containers.document_paths import ignored_file
from devlxd.containers.document_warnings import id_warning
from devlxd.containers.failed_reads import FailedReads
from devlxd.containers.warning_log import WarningLog
from devlxd.model import Fault
from devlxd.printable_text import printable_path


class DocumentRecords:
    """The documents of a store. They take little memory each.

    :param base: what the places of all documents begin with, up to the names of the
        containers: ``/srv/containers/``.
    :param ignored: returns a fault if something was probably meant as the document of a
        container that has none; ``None`` otherwise.
    :param failed: the containers that cannot be read.
    :param warnings: logs likely mistakes.
    """

    def __init__(
        self,
        base: str,
        ignored: Callable[[str], Fault | None],
        failed: FailedReads,
        warnings: WarningLog,
    ) -> None:
        self._base = base
        self._ignored = ignored
        self._failed = failed
        self._warnings = warnings
        # What follows the name of the container in the place: one of few texts.
        self._ends: dict[str, str] = {}
        self._id_lines: dict[str, int] = {}

    @classmethod
    def of_directory(
        cls, directory: Path, failed: FailedReads, warnings: WarningLog
    ) -> DocumentRecords:
        """Return the records of the documents in a directory."""
        ignored = partial(ignored_file, directory)
        return cls(f"{directory}/", ignored, failed, warnings)

    def add(
        self,
        name: str,
        end: str,
        parsed: ParsedDocument,
        same_id: Collection[str],
    ) -> None:
        """Record that the document of a container was read, and log its warnings.

        :param end: what follows the name of the container in the place of the document,
            such as ``.yaml``.
        :param same_id: the names of other containers with the same id.
        """
        self._failed.succeeded(name)
        self._ends[name] = end
        self._id_lines.pop(name, None)
        if parsed.id_line is not None:
            self._id_lines[name] = parsed.id_line
        warning = id_warning(parsed.id_line, min(same_id)) if same_id else None
        place = self._place(name, end)
        self._warnings.update(name, place, parsed.warnings, warning)

    def discard(self, name: str) -> None:
        """Forget a container that has no document; log an ignored file instead."""
        self._failed.discard(name)
        self._ends.pop(name, None)
        self._id_lines.pop(name, None)
        self._warnings.discard(name)
        self._warnings.update_ignored_file(name, self._ignored(name))

    def warn_again(self) -> None:
        """Log the warnings again when the documents are read again."""
        self._warnings.forget_all()

    def path_of(self, name: str) -> str | None:
        """See `IDocuments.document_of`; the path is printable."""
        end = self._ends.get(name)
        place = None if end is None else self._place(name, end)
        return self._failed.document_of(name) or place

    def _place(self, name: str, end: str) -> str:
        return printable_path(f"{self._base}{name}{end}")

    def faults(self, shared_ids: Iterable[Collection[str]]) -> Iterator[Fault]:
        """Yield what is wrong with the documents now.

        :param shared_ids: the names of the containers with one id, for each id that
            several have.
        """
        broken = {fault.container: fault for fault in self._failed.faults()}
        yield from broken.values()
        for fault in self._warnings.faults():
            # Warnings about a document that is broken now are about its old content.
            if fault.container not in broken:
                yield fault
        for names in shared_ids:
            yield from self._id_faults(names)

    def _id_faults(self, names: Collection[str]) -> Iterator[Fault]:
        for name in names:
            file = self.path_of(name)
            # A container that is about to be removed has no document.
            if file is not None:
                other = min({*names} - {name})
                yield id_warning(self._id_lines.get(name), other).fault_in(file, name)

# -*- test-case-name: tests.containers.test_directory_check -*-
"""What a check of all documents has found."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import field, frozen

from devlxd.containers.document_parser import ParsedDocument
from devlxd.containers.document_warnings import id_warning
from devlxd.model import Fault


@frozen
class CheckedDocuments:
    """The result of a check.

    :ivar containers: how many containers a store would have.
    :ivar faults: what is wrong, in the order of files and lines.
    """

    containers: int
    faults: list[Fault]


@frozen
class Findings:
    """What was found so far.

    :ivar containers: the names of the containers that can be used.
    :ivar faults: what is wrong, except for ids that two containers have.
    :ivar ids: by id: each container that has it, its document and the line there.
    """

    containers: list[str] = field(factory=list)
    faults: list[Fault] = field(factory=list)
    ids: dict[str, list[tuple[str, str, int | None]]] = field(factory=dict)

    def add(self, name: str, file: str, parsed: ParsedDocument) -> None:
        """Add a document that can be used.

        :param file: its printable place.
        """
        self.containers.append(name)
        self.faults.extend(w.fault_in(file, name) for w in parsed.warnings)
        if parsed.container.id:
            places = self.ids.setdefault(parsed.container.id, [])
            places.append((name, file, parsed.id_line))

    def result(self) -> CheckedDocuments:
        """Return the result."""
        faults = {*self.faults, *self._faults_of_ids()}
        order = sorted(faults, key=lambda fault: (fault.file, fault.line, fault.text))
        return CheckedDocuments(len(self.containers), order)

    def _faults_of_ids(self) -> Iterator[Fault]:
        """Yield a fault for each container whose id another one has as well."""
        for places in self.ids.values():
            for name, file, line in places:
                others = {other for other, _, _ in places} - {name}
                if others:
                    yield id_warning(line, min(others)).fault_in(file, name)

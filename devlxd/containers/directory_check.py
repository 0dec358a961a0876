# -*- test-case-name: tests.containers.test_directory_check -*-
"""Checking all documents of a directory at once, without a store.

The functions are those of the directory store: what it would refuse to read or warn
about is found here, at once instead of when it changes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from attrs import field, frozen

from devlxd.containers.document_files import parse, read_document
from devlxd.containers.document_parser import ParsedDocument
from devlxd.containers.document_paths import (
    DocumentPath,
    UnreadableError,
    directory_without_document,
    find_documents,
    ignored_file,
    list_containers,
)
from devlxd.containers.document_trees import MAX_DOCUMENT
from devlxd.containers.document_warnings import NO_ACCESS_KEYS, AccessKeys, id_warning
from devlxd.model import Fault
from devlxd.turns import finish


@frozen
class CheckedDirectory:
    """The result of a check.

    :ivar containers: how many containers a directory store would have.
    :ivar faults: what is wrong, in the order of files and lines.
    """

    containers: int
    faults: list[Fault]


@frozen
class _Findings:
    """What was found so far.

    :ivar containers: the names of the containers that can be used.
    :ivar faults: what is wrong, except for ids that two containers have.
    :ivar ids: by id: each container that has it, its document and the line there.
    """

    containers: list[str] = field(factory=list)
    faults: list[Fault] = field(factory=list)
    ids: dict[str, list[tuple[str, str, int | None]]] = field(factory=dict)

    def add(self, name: str, path: DocumentPath, parsed: ParsedDocument) -> None:
        """Add a document that can be used."""
        file = path.printable()
        self.containers.append(name)
        self.faults.extend(w.fault_in(file, name) for w in parsed.warnings)
        if parsed.container.id:
            places = self.ids.setdefault(parsed.container.id, [])
            places.append((name, file, parsed.id_line))

    def add_ignored(self, directory: Path, name: str) -> None:
        """Add what has the name of a container, but is no document."""
        for find in (ignored_file, directory_without_document):
            fault = find(directory, name)
            if fault is not None:
                self.faults.append(fault)

    def faults_of_ids(self) -> Iterator[Fault]:
        """Yield a fault for each container whose id another one has as well."""
        for places in self.ids.values():
            for name, file, line in places:
                others = {other for other, _, _ in places} - {name}
                if others:
                    yield id_warning(line, min(others)).fault_in(file, name)


def check_directory(
    directory: Path,
    access_keys: AccessKeys = NO_ACCESS_KEYS,
    max_size: int = MAX_DOCUMENT,
) -> CheckedDirectory:
    """Check all documents of a directory, one after the other.

    :param access_keys: the config keys that are checked for mistakes.
    :param max_size: the maximum length of a document, in bytes.
    :raises OSError: if the directory is missing, or cannot be listed.
    """
    os.scandir(directory).close()
    findings = _Findings()
    for name in sorted(list_containers(directory)):
        try:
            documents = find_documents(directory, name)
            document = read_document(name, documents, max_size)
            if document is not None:
                parsed = finish(parse(name, document, access_keys))
                findings.add(name, document.path, parsed)
            else:
                findings.add_ignored(directory, name)
        except UnreadableError as error:
            findings.faults.append(error.fault_of(name))
    faults = {*findings.faults, *findings.faults_of_ids()}
    order = sorted(faults, key=lambda fault: (fault.file, fault.line, fault.text))
    return CheckedDirectory(len(findings.containers), order)

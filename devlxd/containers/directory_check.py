# -*- test-case-name: tests.containers.test_directory_check -*-
"""Checking all documents of a directory at once, without a store.

The functions are those of the directory store: what it would refuse to read or warn
about is found here, at once instead of when it changes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from devlxd.containers.document_files import parse, read_document
from devlxd.containers.document_findings import CheckedDocuments, Findings
from devlxd.containers.document_paths import (
    UnreadableError,
    directory_without_document,
    find_documents,
    ignored_file,
    list_containers,
)
from devlxd.containers.document_trees import MAX_DOCUMENT
from devlxd.containers.document_warnings import NO_ACCESS_KEYS, AccessKeys
from devlxd.model import Fault
from devlxd.turns import finish


def check_directory(
    directory: Path,
    access_keys: AccessKeys = NO_ACCESS_KEYS,
    max_size: int = MAX_DOCUMENT,
) -> CheckedDocuments:
    """Check all documents of a directory, one after the other.

    :param access_keys: the config keys that are checked for mistakes.
    :param max_size: the maximum length of a document, in bytes.
    :raises OSError: if the directory is missing, or cannot be listed.
    """
    os.scandir(directory).close()
    findings = Findings()
    for name in sorted(list_containers(directory)):
        try:
            documents = find_documents(directory, name)
            document = read_document(name, documents, max_size)
            if document is not None:
                parsed = finish(parse(name, document, access_keys))
                findings.add(name, document.path.printable(), parsed)
            else:
                findings.faults.extend(_ignored(directory, name))
        except UnreadableError as error:
            findings.faults.append(error.fault_of(name))
    return findings.result()


def _ignored(directory: Path, name: str) -> Iterator[Fault]:
    """Yield the faults of what has the name of a container, but is no document."""
    for find in (ignored_file, directory_without_document):
        fault = find(directory, name)
        if fault is not None:
            yield fault

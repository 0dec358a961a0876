# -*- test-case-name: tests.commands.documents.test_edit -*-
"""``devlxd container edit``: editing a document in an editor, or replacing it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

from attrs import evolve

from devlxd.commands.documents.editor import EditedFile, EditorError
from devlxd.commands.documents.findings import print_finding
from devlxd.commands.outcomes import CommandError
from devlxd.commands.output import note
from devlxd.containers.document_files import Document
from devlxd.documents.directory import DocumentDirectory
from devlxd.documents.errors import DocumentsError, FaultyError
from devlxd.model import Fault

_AGAIN = "Press enter to open the editor again, or Ctrl-C to abort: "


def edit(arguments: argparse.Namespace, directory: DocumentDirectory) -> None:
    """Edit a document, or replace it by the standard input."""
    name = arguments.name
    document = directory.read(name)
    directory.check_is_ours(name, document.path)
    if sys.stdin is None or not sys.stdin.isatty():
        content = b"" if sys.stdin is None else _read_input(document)
        _print_all(directory.replace(name, document, content))
        return
    file = EditedFile(name, document.path.path.suffix, document.content)
    try:
        _edit(name, document, directory, file)
    finally:
        # What was edited and not saved is kept.
        if not file.remove_if(document.content):
            note(f"the edited document is kept in {file.path}")


def _read_input(document: Document) -> bytes:
    """Return the standard input; one byte more than allowed is refused later."""
    return sys.stdin.buffer.read(document.max_size + 1)


def _edit(
    name: str, document: Document, directory: DocumentDirectory, file: EditedFile
) -> None:
    """Edit a document until it is saved or the operator gives up.

    :raises CommandError: if nothing is saved.
    """
    while True:
        try:
            content = file.edit()
        except EditorError as error:
            raise CommandError(str(error)) from None
        if content == document.content:
            file.remove()
            return
        try:
            # Faults are shown without the lock, and without asking for it.
            directory.check(name, evolve(document, content=content))
            warnings = directory.replace(name, document, content)
        except FaultyError as error:
            print_finding(error.fault)
            _ask_again()
        except DocumentsError as error:
            raise CommandError(f"{error}; nothing is saved") from None
        else:
            file.remove()
            _print_all(warnings)
            return


def _ask_again() -> None:
    """Wait for the enter key.

    :raises CommandError: if there is no answer.
    """
    sys.stderr.write(_AGAIN)
    sys.stderr.flush()
    if not sys.stdin.readline():
        sys.stderr.write("\n")
        raise CommandError("nothing is saved")


def _print_all(faults: Iterable[Fault]) -> None:
    for fault in faults:
        print_finding(fault)

# -*- test-case-name: tests.commands.documents.test_container -*-
"""``devlxd container list`` and ``devlxd container show``."""

from __future__ import annotations

import argparse
import os
import sys

from devlxd.commands.output import json_text, table, write
from devlxd.documents.directory import DocumentDirectory


def list_documents(arguments: argparse.Namespace, directory: DocumentDirectory) -> None:
    """Print all documents."""
    documents = directory.documents()
    if arguments.json:
        rows = [
            {
                "name": document.name,
                "document": str(document.path),
                "broken": document.fault is not None,
                "fault": document.fault and str(document.fault),
            }
            for document in documents
        ]
        write(json_text(rows))
    elif not documents:
        write("no containers\n")
    else:
        write(
            table(
                ("NAME", "DOCUMENT"),
                (
                    (
                        document.name,
                        os.path.relpath(document.path, directory.path)
                        + (" (broken)" if document.fault is not None else ""),
                    )
                    for document in documents
                ),
            )
        )


def show(arguments: argparse.Namespace, directory: DocumentDirectory) -> None:
    """Print a document."""
    document = directory.read(arguments.name)
    if arguments.json:
        container = directory.parse(arguments.name, document).container
        devices = {name: dict(device) for name, device in container.devices.items()}
        write(json_text({"config": dict(container.config), "devices": devices}))
        return
    # All bytes stay as they are, also those of a document that is not UTF-8.
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        write(document.content.decode("utf-8", "backslashreplace"))
        return
    write("")
    buffer.write(document.content)
    write("")

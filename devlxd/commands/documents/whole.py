# -*- test-case-name: tests.commands.documents.test_container -*-
"""``devlxd container create`` and ``devlxd container remove``."""

from __future__ import annotations

import argparse

from devlxd.commands.documents.findings import print_finding
from devlxd.commands.documents.keys import config_settings
from devlxd.documents.directory import DocumentDirectory


def create(arguments: argparse.Namespace, directory: DocumentDirectory) -> None:
    """Create a document."""
    settings = config_settings(arguments.pairs, directory.max_size)
    for fault in directory.create(arguments.name, settings):
        print_finding(fault)


def remove(arguments: argparse.Namespace, directory: DocumentDirectory) -> None:
    """Remove a document."""
    directory.remove(arguments.name)

# -*- test-case-name: tests.commands.documents.test_container -*-
"""Printing what is wrong in a document."""

from __future__ import annotations

import sys

from devlxd.commands.output import printable
from devlxd.model import Fault


def print_finding(fault: Fault) -> None:
    """Print ``FILE:LINE: text`` on standard error."""
    if sys.stderr is not None:
        sys.stderr.write(f"{printable(str(fault))}\n")
        sys.stderr.flush()

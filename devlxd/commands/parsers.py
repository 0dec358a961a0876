# -*- test-case-name: tests.commands.test_main -*-
"""The parser of command lines."""

from __future__ import annotations

import argparse
from typing import NoReturn, TypeAlias

from devlxd.commands.outcomes import ExitStatus
from devlxd.commands.output import printable


class Parser(argparse.ArgumentParser):
    """A parser that reports an error on one line, without a usage message."""

    def error(self, message: str) -> NoReturn:
        """See `argparse.ArgumentParser.error`; the exit status is 2."""
        line = " ".join(message.split())
        self.exit(ExitStatus.USAGE, f"{self.prog}: {printable(line)}\n")


#: What subcommands are added to.
Subparsers: TypeAlias = "argparse._SubParsersAction[Parser]"

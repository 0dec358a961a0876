# -*- test-case-name: tests.commands.test_main -*-
"""The parser of command lines."""

from __future__ import annotations

import argparse
import os
from typing import Any, NoReturn, TypeAlias

from devlxd.commands.outcomes import ExitStatus
from devlxd.commands.output import WIDTH, printable


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Return what formats the help of a command.

    argparse makes one for each argument. Where it is told no width, it imports shutil,
    which takes longer than all other imports of this module.
    """
    try:
        columns = int(os.environ.get("COLUMNS") or os.get_terminal_size().columns)
    except (OSError, ValueError):
        columns = WIDTH
    return argparse.HelpFormatter(prog, width=max(columns, 30) - 2)


class Parser(argparse.ArgumentParser):
    """A parser that reports an error on one line, without a usage message."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 # as argparse
        options.setdefault("formatter_class", _formatter)
        super().__init__(*arguments, **options)

    def error(self, message: str) -> NoReturn:
        """See `argparse.ArgumentParser.error`; the exit status is 2."""
        line = " ".join(message.split())
        self.exit(ExitStatus.USAGE, f"{self.prog}: {printable(line)}\n")


#: What subcommands are added to.
Subparsers: TypeAlias = "argparse._SubParsersAction[Parser]"

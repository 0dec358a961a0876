"""Print the completion of the command ``devlxd`` for a shell: ``bash`` or ``zsh``.

shtab makes it from the parser of the command line.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import shtab

from devlxd.commands.main import make_parser


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of its subcommands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                yield from _actions(subparser)


def _main(shell: str) -> None:
    parser = make_parser()
    for action in _actions(parser):
        if action.type is Path:
            kind = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE
            action.complete = kind  # type: ignore[attr-defined] # shtab reads it
    sys.stdout.write(shtab.complete(parser, shell))


_main(*sys.argv[1:])

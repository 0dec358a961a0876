# -*- test-case-name: tests.commands.test_completion -*-
"""``devlxd --print-completion``: the completion of the command line, by shtab."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from devlxd.commands.output import write

#: The shells that have a completion.
SHELLS = ("bash", "zsh")

#: The arguments that are names of files, by what stands for them in the help.
_FILES = ("FILE", "PATH")


class PrintCompletion(argparse.Action):
    """An option that prints the completion of a parser for a shell, and exits."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest, choices=SHELLS, help=help)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """See `argparse.Action`."""
        # No other command line needs them.
        from pathlib import Path  # noqa: PLC0415

        import shtab  # noqa: PLC0415

        for action in _actions(parser):
            if action.metavar == "DIR":
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined] # shtab reads it
            elif action.type is Path or action.metavar in _FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined] # shtab reads it
        write(shtab.complete(parser, str(values)))
        parser.exit()


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of its subcommands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                yield from _actions(subparser)

# -*- test-case-name: tests.commands.test_main -*-
"""The command line of ``devlxd``.

Commands that ask a running devlxd start quickly: neither this module nor theirs
import Twisted.
"""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from devlxd import __version__
from devlxd.commands import check, containers, image, log, status, why
from devlxd.commands.outcomes import CommandError, ExitStatus
from devlxd.commands.output import discard_output, note
from devlxd.commands.parsers import Parser

#: The modules of the commands, in the order of the help.
_COMMANDS = (status, containers, why, log, check, image)

# argparse, because twisted.python.usage accepts no options after arguments.


def make_parser() -> Parser:
    """Return the parser of the command line.

    The parsed arguments have the function of their subcommand as ``run``.
    """
    parser = Parser(
        prog="devlxd",
        description="Ask a running devlxd how it is, check documents, and manage what "
        "it serves to guests. The service itself is twistd devlxd.",
        epilog='"devlxd COMMAND --help" describes a command. Exit status: 0; 1 if '
        "something is refused, unhealthy or at fault; 2 for a wrong command line; 3 if "
        "there is no such container or image; 5 if no devlxd answers on the socket.",
    )
    parser.add_argument("--version", action="version", version=f"devlxd {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.define(commands)
    return parser


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise `KeyboardInterrupt`, as SIGINT does.

    Unlike their default action, an exception lets the command remove its temporary
    files.
    """
    numbers = (signal.SIGTERM, signal.SIGHUP)
    handlers = [signal.signal(n, signal.default_int_handler) for n in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: the command line; default: that of the process.
    :return: the exit status; the reason of a failure is on standard error.
    :raises SystemExit: for a wrong command line, and for ``--help``.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    parsed = make_parser().parse_args(arguments)
    try:
        with _signals_interrupt():
            return ExitStatus(parsed.run(parsed))
    except CommandError as error:
        note(str(error))
        return error.status
    except BrokenPipeError:
        discard_output()
        return ExitStatus.CLOSED_OUTPUT
    except KeyboardInterrupt:
        note("interrupted")
        return ExitStatus.INTERRUPTED

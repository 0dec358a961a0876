# -*- test-case-name: tests.commands.test_main -*-
"""The command line of ``devlxd``.

Commands that ask a running devlxd start quickly: neither this module nor theirs
import Twisted, and only the module of the command that runs is imported.
"""

from __future__ import annotations

import argparse
import io
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from devlxd import __version__
from devlxd.commands.completion import PrintCompletion
from devlxd.commands.outcomes import CommandError, ExitStatus
from devlxd.commands.output import discard_output, note
from devlxd.commands.parsers import Parser

#: The modules of the commands, by their names, in the order of the help.
_COMMANDS = {
    "status": "devlxd.commands.status",
    "containers": "devlxd.commands.containers",
    "why": "devlxd.commands.why",
    "log": "devlxd.commands.log",
    "check": "devlxd.commands.check",
    "container": "devlxd.commands.documents.container",
    "image": "devlxd.commands.image",
    "info": "devlxd.commands.guest.info",
    "config": "devlxd.commands.guest.config",
    "devices": "devlxd.commands.guest.devices",
    "meta-data": "devlxd.commands.guest.meta_data",
    "ready": "devlxd.commands.guest.ready",
    "events": "devlxd.commands.guest.events",
}

# argparse, because twisted.python.usage accepts no options after arguments.


def make_parser(names: Iterable[str] = _COMMANDS) -> Parser:
    """Return the parser of the command line.

    The parsed arguments have the function of their subcommand as ``run``.

    :param names: the commands that it has; default: all.
    """
    parser = Parser(
        prog="devlxd",
        description="For operators: ask a running devlxd how it is, check documents, "
        "and manage what it serves to guests. In a guest: ask the guest API. The "
        "service itself is twistd devlxd.",
        epilog='"devlxd COMMAND --help" describes a command. Exit status: 0; 1 if '
        "something is refused, unhealthy or at fault; 2 for a wrong command line; 3 if "
        "there is no such container, key, device or image; 4 if the server refuses the "
        "guest; 5 if no server answers on the socket in time.",
    )
    parser.add_argument("--version", action="version", version=f"devlxd {__version__}")
    parser.add_argument(
        "--print-completion",
        action=PrintCompletion,
        help="print the completion of the command for a shell",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in names:
        import_module(_COMMANDS[name]).define(commands)
    return parser


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line with the parser of its command, if it has one."""
    names = [name for name in arguments[:1] if name in _COMMANDS]
    return make_parser(names or _COMMANDS).parse_args(arguments)


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise `KeyboardInterrupt`, as SIGINT does.

    Unlike their default action, an exception lets the command remove its temporary
    files. A signal that is ignored, as by nohup, stays so.
    """
    numbers = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
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
    parsed = _parse(sys.argv[1:] if arguments is None else arguments)
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

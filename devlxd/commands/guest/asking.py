# -*- test-case-name: tests.commands.guest.test_questions -*-
"""What the commands for guests have in common: options, the guest, and its errors."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from contextlib import contextmanager

from devlxd.client.errors import Forbidden, GuestError, NotFound, Unavailable
from devlxd.client.questions import SOCKETS
from devlxd.client.sync import Guest
from devlxd.commands.outcomes import CommandError, ExitStatus
from devlxd.commands.output import printable

#: How long a question may take, in seconds.
TIMEOUT = 10.0

#: What the commands return, for the end of their help.
EXIT_STATUS = (
    "Exit status: 0; 3 if there is no such thing; 4 if the server refuses; 5 if no "
    "server answers in time; 1 for other failures."
)

#: The exit statuses by exception; others are 1.
_STATUSES = {
    NotFound: ExitStatus.NOT_FOUND,
    Forbidden: ExitStatus.NOT_ALLOWED,
    Unavailable: ExitStatus.NO_SERVICE,
}


def define_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands for guests."""
    define_output_and_socket(parser)
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=TIMEOUT,
        metavar="SECONDS",
        help="how long an answer may take (default: %(default)g)",
    )


def define_output_and_socket(parser: argparse.ArgumentParser) -> None:
    """Add the options of all commands for guests: those without a timeout too."""
    parser.set_defaults(timeout=TIMEOUT)
    parser.add_argument(
        "--json", action="store_true", help="print the answer as JSON, for programs"
    )
    parser.add_argument(
        "--socket",
        metavar="PATH",
        help=f"the socket of the server (default: the first of {', '.join(SOCKETS)})",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not (seconds > 0 and math.isfinite(seconds)):
        raise argparse.ArgumentTypeError(f"{printable(text)}: not a number of seconds")
    return seconds


@contextmanager
def asking(
    arguments: argparse.Namespace, subject: str | None = None
) -> Iterator[Guest]:
    """Provide the guest to ask.

    :param subject: the key, the device or the image that is asked for.
    :raises CommandError: with the exit status for the exception of the library.
    """
    try:
        yield Guest(arguments.socket, arguments.timeout)
    except GuestError as error:
        text = str(error) or type(error).__name__
        if isinstance(error, NotFound) and subject and subject not in text:
            text = f"{subject}: {text}"
        status = _STATUSES.get(type(error), ExitStatus.BAD)
        raise CommandError(text, status) from None

# -*- test-case-name: tests.commands.test_log -*-
"""``devlxd log``: what happens in a running devlxd, as it happens."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any, NoReturn

from devlxd.commands.admin_client import AdminClient, NoServiceError, define_options
from devlxd.commands.outcomes import ExitStatus
from devlxd.commands.output import note, printable, write
from devlxd.commands.parsers import Subparsers

#: The time between two attempts to connect again, in seconds.
RETRY_INTERVAL = 0.5

#: The members of an event that have a place of their own in its line.
_PLACED = ("timestamp", "event", "container")


def define(commands: Subparsers) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "log",
        help="follow what happens in a running devlxd",
        description="Print a line for each thing that happens in a running devlxd, "
        "until Ctrl-C: containers are added, changed and removed, guests connect, are "
        "refused and say that they are ready. Of what changed, the names of the keys "
        "are printed, never their values. When devlxd restarts, the command waits for "
        "it; what happens meanwhile is not printed.",
        epilog="Exit status: 5 if no devlxd answers on the socket at the start; 130 "
        "after Ctrl-C.",
    )
    parser.add_argument(
        "--asked", action="store_true", help="print the questions of guests, too"
    )
    define_options(parser)
    parser.set_defaults(run=run)


def run(
    arguments: argparse.Namespace, sleep: Callable[[float], None] = time.sleep
) -> ExitStatus:
    """Print events until the command is interrupted.

    :param sleep: waits for a number of seconds.
    """
    try:
        _follow(AdminClient(arguments.socket), arguments, sleep)
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED


def _follow(
    client: AdminClient, arguments: argparse.Namespace, sleep: Callable[[float], None]
) -> NoReturn:
    target = "/events?asked=1" if arguments.asked else "/events"
    was_connected = is_waiting = False
    while True:
        problem = f"devlxd at {arguments.socket} has closed the connection"
        try:
            for line in client.lines(target):
                if not line and is_waiting:
                    note("connected again")
                was_connected, is_waiting = True, False
                _print(line, arguments.json)
        except NoServiceError as error:
            if not was_connected:
                raise
            problem = str(error)
        if not is_waiting:
            note(f"{problem}; waiting for it")
            is_waiting = True
        sleep(RETRY_INTERVAL)


def _print(line: bytes, as_json: bool) -> None:
    """Print one line of the answer; empty lines keep the connection alive."""
    if not line.strip():
        return
    try:
        event = json.loads(line)
        text = json.dumps(event) if as_json else render(event)
    except (AttributeError, RecursionError, ValueError):
        note("an event that is not understood is left out")
    else:
        write(f"{text}\n")


def render(event: dict[str, Any]) -> str:
    """Return an event as one line for people."""
    rest = (
        f"{printable(name)}={_value(value)}"
        for name, value in sorted(event.items(), key=lambda item: item[0] != "reason")
        if name not in _PLACED
    )
    return " ".join((*(printable(event.get(name)) for name in _PLACED), *rest))


def _value(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(printable, value)) or "-"
    text = printable(value)
    return f'"{text}"' if " " in text else text

# -*- test-case-name: tests.commands.guest.test_events -*-
"""``devlxd events``: the events of the guest, printed or handed to a command."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path

from devlxd.client.event_feed import TYPES
from devlxd.client.values import Event
from devlxd.commands.guest.asking import asking, define_options
from devlxd.commands.guest.event_hook import Hook
from devlxd.commands.guest.event_state import EventState
from devlxd.commands.guest.interrupts import Interrupts
from devlxd.commands.guest.rendering import event_json, render_event
from devlxd.commands.outcomes import ExitStatus
from devlxd.commands.output import printable, write, write_bytes
from devlxd.commands.parsers import Subparsers
from devlxd.timestamps import timestamp_of


def define(commands: Subparsers) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "events",
        help="in a guest: print its events, or run a command for each",
        description="Print a line for each change of the guest's config and devices, "
        "until Ctrl-C, or run a command for each. When the server restarts, the "
        "command waits for it and continues after the last event. An event of the "
        "type lost says that others may have been lost: what was read before may be "
        "out of date.",
        epilog="Exit status: 130 after Ctrl-C; 4 if the server refuses; 5 if no server "
        "answers at the start; 1 for other failures, also of FILE.",
    )
    _define_events(parser)
    define_options(parser)
    parser.set_defaults(run=run)


def _define_events(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which events, and what is done with them."""
    parser.add_argument(
        "--type",
        action="append",
        default=[],
        choices=TYPES,
        help="only events of this type; may be repeated",
    )
    parser.add_argument(
        "--since",
        type=_timestamp,
        metavar="TIME",
        help="begin with the events after this time, as in the timestamp of an event; "
        "with --state, where there is no FILE yet (default: now)",
    )
    parser.add_argument(
        "--exec",
        metavar="COMMAND",
        help="run COMMAND by /bin/sh for each event, one after the other. The event "
        "is on its standard input as JSON, and in DEVLXD_TYPE, DEVLXD_TIMESTAMP, "
        "DEVLXD_KEY, DEVLXD_VALUE, DEVLXD_OLD_VALUE, DEVLXD_DEVICE and DEVLXD_ACTION. "
        "If it fails, that is said, and it is not run again",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="remember in FILE which event was the last, and continue after it when "
        "the command is started again",
    )


def _timestamp(text: str) -> str:
    try:
        timestamp_of(text)
    except ValueError:
        message = f"{printable(text)}: not a time such as 2026-11-26T14:41:11Z"
        raise argparse.ArgumentTypeError(message) from None
    return text


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Print events, or run a command for each, until the command is interrupted."""
    file = arguments.state
    try:
        with EventState(file) if file is not None else nullcontext() as state:
            _listen(arguments, state)
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    return ExitStatus.OK


def _listen(arguments: argparse.Namespace, state: EventState | None) -> None:
    """Print events, or run a command for each, until listening fails."""
    since = (state.since if state else None) or arguments.since
    save = state.save if state else _forget
    hook = Hook(arguments.exec) if arguments.exec is not None else None
    with asking(arguments) as guest:
        for event in guest.events(arguments.type, since, on_position=save):
            if hook is None:
                _print(event, arguments.json)
                save(event.timestamp)
                continue
            with Interrupts() as interrupts:
                if hook.run(event, interrupts):
                    save(event.timestamp)


def _forget(_timestamp: str) -> None:
    """Remember no event."""


def _print(event: Event, as_json: bool) -> None:
    if as_json:
        write_bytes(event_json(event))
    else:
        write(f"{render_event(event)}\n")

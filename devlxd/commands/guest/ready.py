# -*- test-case-name: tests.commands.guest.test_questions -*-
"""``devlxd ready``: telling the host that the guest is ready."""

from __future__ import annotations

import argparse

from devlxd.commands.guest.asking import EXIT_STATUS, asking, define_options
from devlxd.commands.outcomes import ExitStatus
from devlxd.commands.output import json_text, write
from devlxd.commands.parsers import Subparsers


def define(commands: Subparsers) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "ready",
        help="in a guest: tell the host that it is ready",
        description="Tell the host that the guest is ready, which means what the host "
        "and the guest have agreed on. Servers of the dialects lxd and apollo do not "
        "listen to it. Nothing is printed.",
        epilog=EXIT_STATUS,
    )
    define_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Send the state to the host."""
    with asking(arguments) as guest:
        guest.ready()
    if arguments.json:
        write(json_text({"state": "Ready"}))
    return ExitStatus.OK

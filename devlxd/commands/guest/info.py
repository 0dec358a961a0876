# -*- test-case-name: tests.commands.guest.test_questions -*-
"""``devlxd info``: what a server says of itself and of the guest."""

from __future__ import annotations

import argparse

from devlxd.commands.guest.asking import EXIT_STATUS, asking, define_options
from devlxd.commands.guest.rendering import render_members
from devlxd.commands.outcomes import ExitStatus
from devlxd.commands.output import json_text, write
from devlxd.commands.parsers import Subparsers


def define(commands: Subparsers) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "info",
        help="in a guest: show which server there is",
        description="Print what the server says at /1.0, which dialect it speaks, and "
        "at which socket it was found.",
        epilog=EXIT_STATUS,
    )
    define_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Print what ``/1.0`` says."""
    with asking(arguments) as guest:
        info = guest.info()
    write(json_text(info) if arguments.json else render_members(info))
    return ExitStatus.OK

# -*- test-case-name: tests.commands.guest.test_questions -*-
"""``devlxd config``: the config of the guest, or the value of one key."""

from __future__ import annotations

import argparse

from devlxd.commands.guest.asking import EXIT_STATUS, asking, define_options
from devlxd.commands.guest.rendering import exact_bytes, render_members
from devlxd.commands.outcomes import ExitStatus
from devlxd.commands.output import json_text, write, write_bytes
from devlxd.commands.parsers import Subparsers


def define(commands: Subparsers) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "config",
        help="in a guest: print its config, or the value of one key",
        description="Print all keys and values that the guest may read, or the value "
        "of one key: exactly its bytes, without a line end.",
        epilog=EXIT_STATUS,
    )
    parser.add_argument("key", nargs="?", metavar="KEY", help="such as user.name")
    define_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Print the config, or one value."""
    with asking(arguments, arguments.key) as guest:
        if arguments.key is None:
            config = guest.config()
            write(json_text(config) if arguments.json else render_members(config))
            return ExitStatus.OK
        value = guest.get(arguments.key)
    if arguments.json:
        write(json_text(value))
    else:
        write_bytes(exact_bytes(value))
    return ExitStatus.OK

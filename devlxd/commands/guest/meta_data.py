# -*- test-case-name: tests.commands.guest.test_questions -*-
"""``devlxd meta-data``: the meta-data for cloud-init."""

from __future__ import annotations

import argparse

from devlxd.commands.guest.asking import EXIT_STATUS, asking, define_options
from devlxd.commands.guest.rendering import exact_bytes
from devlxd.commands.outcomes import ExitStatus
from devlxd.commands.output import json_text, write, write_bytes
from devlxd.commands.parsers import Subparsers


def define(commands: Subparsers) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "meta-data",
        help="in a guest: print its meta-data for cloud-init",
        description="Print the meta-data for cloud-init, exactly as the server sends "
        "it. It is YAML; with --json it is one text that contains the YAML.",
        epilog=EXIT_STATUS,
    )
    define_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Print the meta-data."""
    with asking(arguments) as guest:
        text = guest.meta_data()
    if arguments.json:
        write(json_text(text))
    else:
        write_bytes(exact_bytes(text))
    return ExitStatus.OK

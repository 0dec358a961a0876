# -*- test-case-name: tests.commands.guest.test_questions -*-
"""``devlxd devices``: the devices of the guest, or one of them."""

from __future__ import annotations

import argparse

from devlxd.commands.guest.asking import EXIT_STATUS, asking, define_options
from devlxd.commands.guest.rendering import render_devices, render_members
from devlxd.commands.outcomes import ExitStatus
from devlxd.commands.output import json_text, write
from devlxd.commands.parsers import Subparsers


def define(commands: Subparsers) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "devices",
        help="in a guest: print its devices, or one of them",
        description="Print all devices that the guest may see, or one of them.",
        epilog=EXIT_STATUS,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="such as eth0")
    define_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Print all devices, or one."""
    with asking(arguments, arguments.name) as guest:
        if arguments.name is None:
            devices = guest.devices()
            text = render_devices(devices)
            write(json_text(devices) if arguments.json else text)
            return ExitStatus.OK
        device = guest.device(arguments.name)
    write(json_text(device) if arguments.json else render_members(device))
    return ExitStatus.OK

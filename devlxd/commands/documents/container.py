# -*- test-case-name: tests.commands.documents.test_container -*-
"""The arguments of ``devlxd container``."""

from __future__ import annotations

import argparse

from devlxd.commands.outcomes import ExitStatus
from devlxd.commands.parsers import Parser, Subparsers
from devlxd.commands.served_options import define_served_options

_STATUS = (
    "Exit status: 0; 1 if nothing was changed, and the reason is on standard error; 2 "
    "for a wrong command line; 3 if there is no container NAME."
)

_PAIRS = (
    "a config key and its value. With KEY=- the value is read from standard input, "
    "unless that is a terminal"
)


def define(commands: Subparsers) -> None:
    """Add the command and its actions to the command line."""
    container = commands.add_parser(
        "container",
        help="read and change the documents of containers",
        description="Read and change the documents of containers. No devlxd has to "
        "run; one that does tells the guests of each change.",
    )
    actions = container.add_subparsers(required=True, metavar="ACTION")
    _define_reading(actions)
    _define_setting(actions)
    _define_device(actions)
    _define_whole(actions)


def _define_reading(actions: Subparsers) -> None:
    parser = _add(actions, "list", "list the documents")
    _add_json(parser)
    parser = _add(
        actions,
        "show",
        "print a document as it is on disk",
        "Print a document as it is on disk. With --json, print its config and its "
        "devices as one object, all values as text.",
    )
    _add_name(parser)
    _add_json(parser)


def _define_setting(actions: Subparsers) -> None:
    parser = _add(
        actions,
        "set",
        "set config keys",
        "Set config keys. Nothing else in the document changes. KEY VALUE is "
        "understood as well as KEY=VALUE.",
    )
    _add_name(parser)
    parser.add_argument("pairs", nargs="+", metavar="KEY=VALUE", help=_PAIRS)
    parser = _add(actions, "unset", "remove config keys")
    _add_name(parser)
    _add_keys(parser)


def _define_device(actions: Subparsers) -> None:
    device = actions.add_parser(
        "device", help="change devices", description="Change the devices of containers."
    )
    changes = device.add_subparsers(required=True, metavar="ACTION")
    parser = _add(
        changes,
        "set",
        "set keys of a device",
        "Set keys of a device, which is added if it is missing.",
        action="device set",
    )
    _add_device(parser)
    pairs = _PAIRS.replace("config key", "key")
    parser.add_argument("pairs", nargs="+", metavar="KEY=VALUE", help=pairs)
    parser = _add(changes, "unset", "remove keys of a device", action="device unset")
    _add_device(parser)
    _add_keys(parser)
    parser = _add(changes, "remove", "remove a device", action="device remove")
    _add_device(parser)


def _define_whole(actions: Subparsers) -> None:
    parser = _add(
        actions,
        "create",
        "create a document",
        "Create the document NAME.yaml, which only its owner may read, and its group "
        "if the directory has the set-group-ID bit.",
    )
    _add_name(parser)
    parser.add_argument("pairs", nargs="*", metavar="KEY=VALUE", help=_PAIRS)
    parser = _add(actions, "remove", "remove a document")
    _add_name(parser)
    parser = _add(
        actions,
        "edit",
        "edit a document in an editor",
        "Edit a document in $VISUAL, $EDITOR, editor or vi, or replace it by standard "
        "input if that is no terminal. What is wrong is shown, and can be edited on.",
    )
    _add_name(parser)


def _add(
    actions: Subparsers, name: str, help: str, description: str = "", action: str = ""
) -> Parser:
    description = description or f"{help[0].upper()}{help[1:]}."
    parser = actions.add_parser(
        name, help=help, description=description, epilog=_STATUS
    )
    parser.add_argument(
        "--containers",
        metavar="DIR",
        help="the directory of the documents (default: containers in the "
        "configuration, or that of the first dialect)",
    )
    define_served_options(parser)
    parser.set_defaults(run=run, action=action or name)
    return parser


def _add_name(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the container")


def _add_device(parser: Parser) -> None:
    _add_name(parser)
    parser.add_argument("device", metavar="DEVICE", help="the device")


def _add_keys(parser: Parser) -> None:
    parser.add_argument("keys", nargs="+", metavar="KEY", help="a key to remove")


def _add_json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Run an action."""
    # The other commands do not need Twisted, which the actions import.
    from devlxd.commands.documents import actions  # noqa: PLC0415

    return actions.run(arguments)

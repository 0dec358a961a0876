# -*- test-case-name: tests.commands.test_containers -*-
"""``devlxd containers``: the containers that a running devlxd knows."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any
from urllib.parse import quote

from devlxd.commands.admin_client import AdminClient, NotFoundError, define_options
from devlxd.commands.outcomes import CommandError, ExitStatus
from devlxd.commands.output import json_text, paragraphs, printable, table, write
from devlxd.commands.parsers import Subparsers


def define(commands: Subparsers) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "containers",
        help="list the containers that a running devlxd knows, or show one",
        description="List the containers that a running devlxd knows, or show one with "
        "what is wrong in its document and why its requests were refused.",
        epilog="Exit status: 0; 3 if there is no container NAME; 5 if no devlxd "
        "answers on the socket.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="the container to show")
    define_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Print all containers, or one."""
    client = AdminClient(arguments.socket)
    if arguments.name is None:
        listed = client.get_list("/containers")
        text = client.text_of(listed, render_list)
        write(json_text(listed) if arguments.json else text)
        return ExitStatus.OK
    name = arguments.name.encode("utf-8", "surrogateescape")
    try:
        container = client.get(f"/containers/{quote(name, safe='')}")
    except NotFoundError:
        text = f"{printable(arguments.name)}: no such container"
        raise CommandError(text, ExitStatus.NOT_FOUND) from None
    text = client.text_of(container, render)
    write(json_text(container) if arguments.json else text)
    return ExitStatus.OK


def render_list(containers: list[dict[str, Any]]) -> str:
    """Return a table of containers."""
    if not containers:
        return "no containers\n"
    rows = [
        (
            container.get("name"),
            container.get("state"),
            _init(container),
            container.get("connections"),
            container.get("subscribers"),
            _short_document(container),
        )
        for container in sorted(containers, key=lambda c: str(c.get("name")))
    ]
    titles = ("NAME", "STATE", "INIT", "CONNECTIONS", "SUBSCRIBERS", "DOCUMENT")
    return table(titles, rows)


def _init(container: dict[str, Any]) -> str:
    """Return the pid of the container's init, if a connection is open."""
    run = container.get("run")
    return printable(run.get("pid") if isinstance(run, dict) else run)


def _short_document(container: dict[str, Any]) -> str:
    """Return the name of the document's file, and whether it is broken."""
    document = container.get("document")
    if not document:
        return "-"
    name = Path(str(document)).name
    return f"{name} (broken)" if container.get("broken") else name


def render(container: dict[str, Any]) -> str:
    """Return one container as text for people, and those of the same name."""
    others = container.get("others") or []
    return "\n".join(map(_render_one, [container, *others]))


def _render_one(container: dict[str, Any]) -> str:
    faults = container.get("faults") or []
    refusals = container.get("refusals") or {}
    broken = " (broken)" if container.get("broken") else ""
    return paragraphs(
        [
            ("name", [printable(container.get("name"))]),
            ("document", [printable(container.get("document")) + broken]),
            ("state", [printable(container.get("state"))]),
            ("init", [_init(container)]),
            ("connections", [printable(container.get("connections"))]),
            ("subscribers", [printable(container.get("subscribers"))]),
            ("last question", [printable(container.get("last_question"))]),
            (
                "refusals",
                [f"{printable(n)} {printable(refusals[n])}" for n in refusals],
            ),
            ("faults", [_fault(fault) for fault in faults]),
        ]
    )


def _fault(fault: dict[str, Any]) -> str:
    line = fault.get("line")
    place = f"{fault.get('file')}:{line}" if line else str(fault.get("file"))
    return printable(f"{place}: {fault.get('text')}")

# -*- test-case-name: tests.commands.test_status -*-
"""``devlxd status``: how a running devlxd is."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

from devlxd.commands.admin_client import AdminClient, NoServiceError, define_options
from devlxd.commands.outcomes import ExitStatus
from devlxd.commands.output import (
    is_terminal,
    json_text,
    paragraphs,
    printable,
    table,
    write,
)
from devlxd.commands.parsers import Subparsers
from devlxd.timestamps import duration_text

#: The time between two questions with ``--watch``, in seconds.
INTERVAL = 2.0

#: How many problems are shown as text.
MAX_PROBLEMS = 10

#: The members of a status that are shown as they are.
_MEMBERS = ("connections", "subscribers", "refused")

#: Moves the cursor of a terminal to the top left, and erases what is below.
_CLEAR = "\x1b[H\x1b[J"


def define(commands: Subparsers) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "status",
        help="show how a running devlxd is",
        description="Show how a running devlxd is: whether it is healthy and what is "
        "wrong, how many containers, connections and subscribers there are, where it "
        "listens, and its limits.",
        epilog="Exit status: 0 if it is healthy, 1 if it is not, 5 if no devlxd "
        "answers on the socket.",
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help=f"show it again every {INTERVAL:.0f} seconds, until Ctrl-C",
    )
    define_options(parser)
    parser.set_defaults(run=run)


def run(
    arguments: argparse.Namespace, sleep: Callable[[float], None] = time.sleep
) -> ExitStatus:
    """Print the status; with ``--watch``, again and again.

    :param sleep: waits for a number of seconds.
    """
    client = AdminClient(arguments.socket)
    status = client.get("/status")
    if not arguments.watch:
        text = client.text_of(status, lambda each: render(each) + _limits(each))
        write(json_text(status) if arguments.json else text)
        return ExitStatus.OK if status.get("healthy") is True else ExitStatus.BAD
    try:
        while True:
            _show(client.text_of(status, render), status, arguments.json)
            sleep(INTERVAL)
            status = _get_again(client)
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED


def _get_again(client: AdminClient) -> dict[str, Any]:
    try:
        return client.get("/status")
    except NoServiceError as error:
        # It may be restarting.
        return {"healthy": False, "problems": [str(error)]}


def _show(text: str, status: dict[str, Any], as_json: bool) -> None:
    """Show one of several statuses.

    :param text: the status for people.
    """
    if as_json:
        write(json.dumps(status) + "\n")
    elif is_terminal():
        write(_CLEAR + text)
    else:
        write(f"{text}\n")


def render(status: dict[str, Any]) -> str:
    """Return the status as text for people."""
    title = "healthy" if status.get("healthy") is True else "NOT HEALTHY"
    if "version" in status:
        title += (
            f": devlxd {printable(status['version'])}, pid "
            f"{printable(status.get('pid'))}, running for "
            f"{_uptime(status.get('uptime_seconds'))}"
        )
    containers = status.get("containers") or {}
    broken = containers.get("broken")
    counts = printable(containers.get("known"))
    if broken:
        counts += f", {printable(broken)} with a broken document: try devlxd check"
    return (
        f"{title}\n\n"
        + paragraphs(
            [
                ("containers", [counts] if containers else []),
                ("sources", [*map(_source, status.get("sources") or [])]),
                *((name, _text_of(status, name)) for name in _MEMBERS),
                ("problems", _problems(status)),
            ]
        )
        + _listeners(status.get("listeners") or [])
    )


def _source(source: dict[str, Any]) -> str:
    """Return the state of a remote source of documents, in one line."""
    state = "answers" if source.get("answers") is True else "DOES NOT ANSWER"
    age = source.get("age_seconds")
    known = "nothing is known" if age is None else f"{_uptime(age)} old"
    return f"{printable(source.get('source'))} {state}, {known}"


def _text_of(status: dict[str, Any], name: str) -> list[str]:
    """Return the text of a member; empty if there is none."""
    return [] if status.get(name) in (None, {}) else [printable(status[name])]


def _limits(status: dict[str, Any]) -> str:
    """Return the limits as a paragraph, each in one word."""
    limits = status.get("limits") or {}
    words = (f"{printable(name)}={printable(limits[name])}" for name in limits)
    return "\n" + paragraphs([("limits", [" ".join(words)])]) if limits else ""


def _problems(status: dict[str, Any]) -> list[str]:
    """Return the first problems, and the number of the others."""
    problems = [*map(printable, status.get("problems") or [])]
    others = len(problems) - MAX_PROBLEMS
    more = [f"and {others} more, see --json"] if others > 0 else []
    return problems[:MAX_PROBLEMS] + more


def _listeners(listeners: list[dict[str, Any]]) -> str:
    rows = [
        (
            at.get("dialect"),
            "listening" if at.get("listening") is True else "NOT LISTENING",
            _address(at),
        )
        for at in listeners
    ]
    return "\n" + table(("DIALECT", "STATE", "ADDRESS"), rows) if rows else ""


def _address(listener: dict[str, Any]) -> object:
    """Return the address, and the number of sockets if containers have their own."""
    sockets, address = listener.get("sockets"), listener.get("address")
    if not isinstance(sockets, int):
        return address
    return f"{address} ({sockets} sockets, {listener.get('missing')} missing)"


def _uptime(seconds: object) -> str:
    if not isinstance(seconds, (int, float)):
        return printable(None)
    return duration_text(seconds)

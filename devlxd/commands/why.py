# -*- test-case-name: tests.commands.test_why -*-
"""``devlxd why PID``: how a process would be identified, and where that fails."""

from __future__ import annotations

import argparse
from typing import Any

from devlxd.commands.admin_client import AdminClient, define_options
from devlxd.commands.outcomes import ExitStatus
from devlxd.commands.output import json_text, paragraphs, printable, write
from devlxd.commands.parsers import Subparsers

#: How each result of a check is shown.
_MARKS = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}

#: The greatest process id that a kernel can have (``proc_sys_kernel(5)``).
_MAX_PID = 2**22


def define(commands: Subparsers) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "why",
        help="explain how a running devlxd identifies a process",
        description="Explain how a running devlxd would identify a process that "
        "connects now, check by check: which container it is in, or which check "
        "fails, and why its requests would be refused.",
        epilog="Exit status: 0 if its requests are answered, 1 if they are refused, 5 "
        "if no devlxd answers on the socket.",
    )
    parser.add_argument(
        "pid", type=_pid, metavar="PID", help="the process id, as the host counts"
    )
    define_options(parser)
    parser.set_defaults(run=run)


def _pid(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= _MAX_PID):
        raise argparse.ArgumentTypeError(f"{printable(text)}: not a process id")
    return int(text)


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Print how the process would be identified."""
    client = AdminClient(arguments.socket)
    answer = client.get(f"/why?pid={arguments.pid}")
    text = client.text_of(answer, render)
    write(json_text(answer) if arguments.json else text)
    return ExitStatus.BAD if _is_refused(answer) else ExitStatus.OK


def _is_refused(answer: dict[str, Any]) -> bool:
    return bool(answer.get("refused")) or not answer.get("container")


def render(answer: dict[str, Any]) -> str:
    """Return an explanation as text for people."""
    steps = answer.get("steps") or []
    pid = printable(answer.get("pid"))
    if _is_refused(answer):
        end = f"process {pid} is refused: {printable(answer.get('refused'))}"
    else:
        end = f"process {pid} is in container {printable(answer.get('container'))}"
    names = [f"{_mark(step)}  {printable(step.get('check'))}" for step in steps]
    details = [[printable(step.get("detail"))] for step in steps]
    return paragraphs(zip(names, details, strict=True)) + paragraphs([("", [end])])


def _mark(step: dict[str, Any]) -> str:
    result = printable(step.get("result"))
    return _MARKS.get(result, result).ljust(max(map(len, _MARKS.values())))

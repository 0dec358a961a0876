"""Measure devlxd beside LXD, Twisted and nginx, and write ``docs/performance.rst``.

Run it in a checkout, as root, on a machine without other work: ``python -m
benchmarks``. It takes less than ten minutes.
"""

from __future__ import annotations

import ast
import shutil
import signal
import sys
import time
import traceback
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime, timezone

from benchmarks import machine, page, plot
from benchmarks.context import Context, missing_for_containers
from benchmarks.figures import Measured, table
from benchmarks.sections import SECTIONS
from benchmarks.serving import HERE, checkouts, make_parser
from tests.integration.lxc import make_home


def other_benchmarks() -> list[tuple[str, str]]:
    """Return the commands of the other benchmarks, and what each measures."""
    found = []
    for path in sorted((HERE / "benchmarks").glob("*.py")):
        command = f"python -m benchmarks.{path.stem}"
        description = ast.get_docstring(ast.parse(path.read_text())) or ""
        if command in " ".join(description.split()):
            found.append((command, description.partition("\n")[0]))
    return found


def read_options(words: Sequence[str] | None = None) -> Namespace:
    """Read the command line.

    :param words: its words; default: those of the process.
    """
    parser = make_parser(__doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=SECTIONS,
        metavar="SECTION",
        help=f"measure only these: {', '.join(SECTIONS)}",
    )
    parser.add_argument(
        "--no-write", action="store_true", help="print the table, and write no page"
    )
    return parser.parse_args(words)


def is_written(options: Namespace) -> bool:
    """Return whether a run with these options writes the page."""
    return not (options.only or options.quick or options.no_write or options.checkout)


def measure(options: Namespace) -> list[Measured]:
    """Measure the sections one after the other.

    A section that fails is reported, and the others are measured nevertheless.
    """
    found = []
    with ExitStack() as started:
        home = make_home()
        started.callback(shutil.rmtree, home, ignore_errors=True)
        context = Context(options.quick, checkouts(options.checkout), home, started)
        for name in options.only or SECTIONS:
            begin = time.monotonic()
            try:
                measured = SECTIONS[name](context)
            except (Exception, SystemExit) as error:
                traceback.print_exc()
                reason = f"{type(error).__name__}: {error}".partition("\n")[0]
                measured = Measured(name, name.title(), "", (), [reason])
            found.append(measured)
            print(f"\n{measured.title}, {time.monotonic() - begin:.0f} s")
            for reason in measured.missing:
                print(f"not measured: {reason}")
            print(table(measured.rows), flush=True)
    return found


def main() -> None:
    """Measure, print the table, and write the page."""
    options = read_options()
    problem = missing_for_containers()
    if is_written(options):
        problem = problem or plot.missing_library()
    if problem:
        raise SystemExit(problem)
    machine.raise_limits()
    # What was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begin = time.monotonic()
    found = measure(options)
    rows = [row for section in found for row in section.rows]
    print(f"\nAll, {time.monotonic() - begin:.0f} s\n{table(rows)}")
    if is_written(options):
        day = datetime.now(timezone.utc).date()
        text = page.render(found, machine.facts(), day, other_benchmarks())
        (HERE / "docs" / "performance.rst").write_text(text)
        plot.draw(rows, HERE / "docs" / "images" / "performance.svg")
    if any(not section.rows for section in found):
        sys.exit(1)


if __name__ == "__main__":
    main()

# -*- test-case-name: tests.commands.guest.test_image_get -*-
"""``devlxd image get``: downloading an image in a guest."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from devlxd.commands.guest.asking import (
    EXIT_STATUS,
    asking,
    define_output_and_socket,
)
from devlxd.commands.images.arguments import fingerprint
from devlxd.commands.outcomes import CommandError, ExitStatus
from devlxd.commands.output import json_text, printable, write
from devlxd.commands.parsers import Subparsers

#: What is called with the number of bytes so far, and of all bytes if it is known.
Progress: TypeAlias = "Callable[[int, int | None], None]"


def define_get(actions: Subparsers) -> None:
    """Add the action to the command line."""
    parser = actions.add_parser(
        "get",
        help="in a guest: download an image",
        description="In a guest: download an image that its host offers, compare it "
        "with its fingerprint, and print the names of its files: one, or FILE and "
        "FILE.rootfs of a split image. Nothing has these names before all is right. "
        "An interrupted download is continued for a minute.",
        epilog=EXIT_STATUS,
    )
    parser.add_argument(
        "fingerprint", type=fingerprint, metavar="FINGERPRINT", help="64 hex digits"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path(),
        metavar="FILE",
        help="the name of the file, or a directory for it (default: the server's name, "
        "in the current directory)",
    )
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    define_output_and_socket(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Download the image, and print the names of its files."""
    wanted = arguments.fingerprint
    with asking(arguments, wanted) as guest, _files_fail(), _bar() as progress:
        paths = guest.image(wanted, arguments.output, progress, arguments.force)
    names = [str(path) for path in paths]
    lines = "".join(f"{printable(name)}\n" for name in names)
    write(json_text({"files": names}) if arguments.json else lines)
    return ExitStatus.OK


@contextmanager
def _files_fail() -> Iterator[None]:
    """Turn the errors of files into those of the command."""
    try:
        yield
    except FileExistsError as error:
        text = f"{printable(error.filename)}: {error.strerror}; try --force"
        raise CommandError(text) from None
    except OSError as error:
        raise CommandError(f"{printable(error.filename)}: {error.strerror}") from None


@contextmanager
def _bar() -> Iterator[Progress | None]:
    """Provide what shows the progress on the standard error, if it is a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm  # noqa: PLC0415 # other commands start faster without it

    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, leave=False) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            # Less than before if the download has begun again.
            bar.update(done - bar.n)

        yield show

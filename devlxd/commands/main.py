# -*- test-case-name: tests.commands.test_main -*-
"""The command ``devlxd``: what an operator does by hand."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from devlxd import __version__
from devlxd.guestapi.dialects import DEFAULT_DIALECT
from devlxd.images.adding import AddError, add_image
from devlxd.model import is_fingerprint

# Not twisted.python.usage, which takes no option after a file.


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with a command line."""

    def error(self, message: str) -> NoReturn:
        """Give up."""
        raise SystemExit(f"{self.prog}: {message}")


def _fingerprint(text: str) -> str:
    if not is_fingerprint(text.lower()):
        raise argparse.ArgumentTypeError(f"{text}: not 64 hex digits")
    return text.lower()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="devlxd", description="What an operator does by hand.")
    parser.add_argument("--version", action="version", version=f"devlxd {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    image = commands.add_parser("image", help="what has to do with images")
    actions = image.add_subparsers(required=True, metavar="ACTION")
    add = actions.add_parser(
        "add",
        help="put an image into the directory of images",
        description="Puts an image into the directory from which twistd devlxd lets "
        "guests download it, and prints its fingerprint.",
    )
    add.add_argument("file", type=Path, help="the image, or its metadata")
    add.add_argument(
        "rootfs", type=Path, nargs="?", help="the second half of a split image"
    )
    add.add_argument(
        "--public",
        action="store_true",
        help="every guest may have it that may download images; without this "
        "nobody may",
    )
    add.add_argument(
        "--fingerprint",
        type=_fingerprint,
        help="refuse an image that has another one",
    )
    add.add_argument(
        "--images",
        type=Path,
        default=DEFAULT_DIALECT.images,
        metavar="DIR",
        help="the directory of images (default: %(default)s)",
    )
    add.set_defaults(run=_add)
    return parser


def _add(said: argparse.Namespace) -> None:
    files = [said.file] if said.rootfs is None else [said.file, said.rootfs]
    added = add_image(said.images, files, said.public, said.fingerprint)
    sys.stdout.write(f"{added}\n")


@contextmanager
def _all_signals_interrupt() -> Iterator[None]:
    """Clean up also when somebody else ends it, or the terminal goes away."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    handlers = [signal.signal(n, signal.default_int_handler) for n in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says.

    :raises SystemExit: when that is not possible, with one line that says why.
    """
    said = _parser().parse_args(arguments)
    try:
        with _all_signals_interrupt():
            said.run(said)
    except AddError as error:
        raise SystemExit(f"devlxd: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("devlxd: interrupted") from None

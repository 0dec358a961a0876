# -*- test-case-name: tests.commands.test_main -*-
"""The command line of ``devlxd``."""

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

#: The default directory of images, which is that of the default dialect.
_IMAGES = DEFAULT_DIALECT.images

# argparse, because twisted.python.usage accepts no options after arguments.


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error on one line, without a usage message."""

    def error(self, message: str) -> NoReturn:
        """See `argparse.ArgumentParser.error`; the exit status is 1."""
        raise SystemExit(f"{self.prog}: {message}")


def _fingerprint(text: str) -> str:
    if not is_fingerprint(text.lower()):
        raise argparse.ArgumentTypeError(f"{text}: not 64 hex digits")
    return text.lower()


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line.

    The parsed arguments have the function of their subcommand as ``run``.
    """
    parser = _Parser(prog="devlxd", description="Manage what devlxd serves to guests.")
    parser.add_argument("--version", action="version", version=f"devlxd {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    image = commands.add_parser("image", help="manage images")
    actions = image.add_subparsers(required=True, metavar="ACTION")
    _define_image_add(
        actions.add_parser(
            "add",
            help="add an image to the directory of images",
            description="Copy an image into the directory of images, from which "
            "twistd devlxd serves it to guests, and print its fingerprint.",
        )
    )
    return parser


def _define_image_add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", type=Path, help="the image, or the metadata of a split image"
    )
    parser.add_argument(
        "rootfs",
        type=Path,
        nargs="?",
        help="the root file system of a split image",
    )
    parser.add_argument(
        "--public",
        action="store_true",
        help="allow all guests with the permission to download the image",
    )
    parser.add_argument(
        "--fingerprint",
        type=_fingerprint,
        help="refuse an image with another fingerprint",
    )
    parser.add_argument(
        "--images",
        type=Path,
        default=_IMAGES,
        metavar="DIR",
        help="the directory of images (default: %(default)s)",
    )
    parser.set_defaults(run=_image_add)


def _image_add(arguments: argparse.Namespace) -> None:
    files = [arguments.file]
    if arguments.rootfs is not None:
        files.append(arguments.rootfs)
    added = add_image(arguments.images, files, arguments.public, arguments.fingerprint)
    sys.stdout.write(f"{added}\n")


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise `KeyboardInterrupt`, as SIGINT does.

    Unlike their default action, an exception lets the command remove its temporary
    files.
    """
    numbers = (signal.SIGTERM, signal.SIGHUP)
    handlers = [signal.signal(n, signal.default_int_handler) for n in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    :param arguments: the command line; default: that of the process.
    :raises SystemExit: on failure, with the reason on one line.
    """
    parsed = make_parser().parse_args(arguments)
    try:
        with _signals_interrupt():
            parsed.run(parsed)
    except AddError as error:
        raise SystemExit(f"devlxd: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("devlxd: interrupted") from None

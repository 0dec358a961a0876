# -*- test-case-name: tests.commands.test_image -*-
"""The arguments that the actions have in common, and how their errors end them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devlxd.commands.outcomes import CommandError, ExitStatus

#: The directory of images of the default dialect. Its module is not imported for
#: it: that takes half a second.
IMAGES = Path("/var/lib/lxd/images")

_FINGERPRINT = re.compile("[0-9a-f]{64}")

_PREFIX = re.compile("[0-9a-f]{1,64}")


def fingerprint(text: str) -> str:
    """Parse a whole fingerprint."""
    if not _FINGERPRINT.fullmatch(text.lower()):
        raise argparse.ArgumentTypeError(f"{text}: not 64 hex digits")
    return text.lower()


def prefix(text: str) -> str:
    """Parse the first digits of a fingerprint."""
    if not _PREFIX.fullmatch(text.lower()):
        raise argparse.ArgumentTypeError(f"{text}: not 1 to 64 hex digits")
    return text.lower()


def define_directory(parser: argparse.ArgumentParser) -> None:
    """Add the options of all actions."""
    parser.add_argument(
        "--images",
        type=Path,
        default=IMAGES,
        metavar="DIR",
        help="the directory of images (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def define_image(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    """Add the argument for an image.

    :param nargs: see `argparse`; default: exactly one image.
    """
    parser.add_argument(
        "fingerprint",
        type=prefix,
        nargs=nargs,
        metavar="FINGERPRINT",
        help="the fingerprint of the image, or enough of its first digits",
    )


@contextmanager
def failing() -> Iterator[None]:
    """Let errors of a directory of images end the command."""
    from devlxd.images.image_directory import (  # noqa: PLC0415 # few commands need it
        ImageDirectoryError,
        NoSuchImageError,
    )

    try:
        yield
    except NoSuchImageError as error:
        raise CommandError(str(error), ExitStatus.NOT_FOUND) from None
    except ImageDirectoryError as error:
        raise CommandError(str(error)) from None

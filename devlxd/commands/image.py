# -*- test-case-name: tests.commands.test_image -*-
"""``devlxd image add``: adding an image to the directory of images."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from devlxd.commands.outcomes import CommandError, ExitStatus
from devlxd.commands.output import write
from devlxd.commands.parsers import Subparsers

#: The directory of images of the default dialect. Its module is not imported for
#: it: that takes half a second.
IMAGES = Path("/var/lib/lxd/images")

_FINGERPRINT = re.compile("[0-9a-f]{64}")


def define(commands: Subparsers) -> None:
    """Add the command to the command line."""
    image = commands.add_parser(
        "image", help="manage images", description="Manage the images for guests."
    )
    actions = image.add_subparsers(required=True, metavar="ACTION")
    parser = actions.add_parser(
        "add",
        help="add an image to the directory of images",
        description="Copy an image into the directory of images, from which twistd "
        "devlxd serves it to guests, and print its fingerprint.",
        epilog="Exit status: 0; 1 if the image cannot be added.",
    )
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
        default=IMAGES,
        metavar="DIR",
        help="the directory of images (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def _fingerprint(text: str) -> str:
    if not _FINGERPRINT.fullmatch(text.lower()):
        raise argparse.ArgumentTypeError(f"{text}: not 64 hex digits")
    return text.lower()


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Add the image, and print its fingerprint."""
    from devlxd.images.adding import (  # noqa: PLC0415 # it imports Twisted
        AddError,
        add_image,
    )

    files = [arguments.file]
    if arguments.rootfs is not None:
        files.append(arguments.rootfs)
    try:
        added = add_image(
            arguments.images, files, arguments.public, arguments.fingerprint
        )
    except AddError as error:
        raise CommandError(str(error)) from None
    write(f"{added}\n")
    return ExitStatus.OK

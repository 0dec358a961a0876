# -*- test-case-name: tests.commands.test_image -*-
"""``devlxd image add``: adding an image to the directory of images."""

from __future__ import annotations

import argparse
from pathlib import Path

from devlxd.commands.images.arguments import define_directory, failing, fingerprint
from devlxd.commands.outcomes import ExitStatus
from devlxd.commands.output import json_text, write
from devlxd.commands.parsers import Subparsers


def define_add(actions: Subparsers) -> None:
    """Add the action to the command line."""
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
        type=fingerprint,
        help="refuse an image with another fingerprint",
    )
    define_directory(parser)
    parser.set_defaults(run=_add)


def _add(arguments: argparse.Namespace) -> ExitStatus:
    """Add the image, and print its fingerprint."""
    from devlxd.images.adding import add_image  # noqa: PLC0415 # few commands need it

    files = [arguments.file]
    if arguments.rootfs is not None:
        files.append(arguments.rootfs)
    with failing():
        added = add_image(
            arguments.images, files, arguments.public, arguments.fingerprint
        )
    write(json_text({"fingerprint": added}) if arguments.json else f"{added}\n")
    return ExitStatus.OK

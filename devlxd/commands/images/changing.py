# -*- test-case-name: tests.commands.test_image -*-
"""``devlxd image publish``, ``unpublish`` and ``remove``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from devlxd.commands.images.arguments import define_directory, define_image, failing
from devlxd.commands.images.rendering import as_json
from devlxd.commands.outcomes import ExitStatus
from devlxd.commands.output import json_text, write
from devlxd.commands.parsers import Subparsers

if TYPE_CHECKING:
    from devlxd.images.listing import ListedImage

_STATUSES = (
    "Exit status: 0; 1 if this cannot be done, or several images begin with "
    "FINGERPRINT; 3 if there is no such image."
)


def define_publish(actions: Subparsers) -> None:
    """Add ``publish`` to the command line."""
    parser = actions.add_parser(
        "publish",
        help="allow guests to download an image",
        description="Make an image public: all guests with the permission may "
        "download it, at once. Its fingerprint is printed.",
        epilog=_STATUSES,
    )
    define_image(parser)
    define_directory(parser)
    parser.set_defaults(run=_set_public, public=True)


def define_unpublish(actions: Subparsers) -> None:
    """Add ``unpublish`` to the command line."""
    parser = actions.add_parser(
        "unpublish",
        help="do not allow guests to download an image",
        description="Make an image private: no guest may begin to download it. "
        "Downloads that have begun are completed. Its fingerprint is printed.",
        epilog=_STATUSES,
    )
    define_image(parser)
    define_directory(parser)
    parser.set_defaults(run=_set_public, public=False)


def define_remove(actions: Subparsers) -> None:
    """Add ``remove`` to the command line."""
    parser = actions.add_parser(
        "remove",
        help="remove an image",
        description="Remove an image from the directory of images, and print its "
        "fingerprint. Downloads that have begun are completed.",
        epilog=_STATUSES,
    )
    define_image(parser)
    define_directory(parser)
    parser.set_defaults(run=_remove)


def _set_public(arguments: argparse.Namespace) -> ExitStatus:
    from devlxd.images.changing import set_public  # noqa: PLC0415 # few commands

    with failing():
        image = set_public(arguments.images, arguments.fingerprint, arguments.public)
    return _print(arguments, image)


def _remove(arguments: argparse.Namespace) -> ExitStatus:
    from devlxd.images.changing import remove_image  # noqa: PLC0415 # few commands

    with failing():
        image = remove_image(arguments.images, arguments.fingerprint)
    return _print(arguments, image)


def _print(arguments: argparse.Namespace, image: ListedImage) -> ExitStatus:
    text = json_text(as_json(image)) if arguments.json else f"{image.fingerprint}\n"
    write(text)
    return ExitStatus.OK

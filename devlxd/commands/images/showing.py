# -*- test-case-name: tests.commands.test_image -*-
"""``devlxd image list``, ``show`` and ``verify``: what is in the directory."""

from __future__ import annotations

import argparse

from devlxd.commands.images.arguments import define_directory, define_image, failing
from devlxd.commands.images.rendering import as_json, render, render_list
from devlxd.commands.outcomes import ExitStatus
from devlxd.commands.output import json_text, printable, write
from devlxd.commands.parsers import Subparsers


def define_list(actions: Subparsers) -> None:
    """Add ``list`` to the command line."""
    parser = actions.add_parser(
        "list",
        help="list all images",
        description="List all images in the directory of images, also those that "
        "guests may not download. Of a damaged image, the file that has to be "
        "repaired is named.",
        epilog="Exit status: 0; 1 if the directory cannot be read.",
    )
    define_directory(parser)
    parser.set_defaults(run=_list)


def _list(arguments: argparse.Namespace) -> ExitStatus:
    from devlxd.images.listing import list_images  # noqa: PLC0415 # few commands

    with failing():
        images = list_images(arguments.images)
    listed = json_text([as_json(image) for image in images])
    write(listed if arguments.json else render_list(images))
    return ExitStatus.OK


def define_show(actions: Subparsers) -> None:
    """Add ``show`` to the command line."""
    parser = actions.add_parser(
        "show",
        help="show an image",
        description="Show an image in the directory of images, with its files, and "
        "with what is wrong if it is damaged.",
        epilog="Exit status: 0; 1 if the directory cannot be read, or several "
        "images begin with FINGERPRINT; 3 if there is no such image.",
    )
    define_image(parser)
    define_directory(parser)
    parser.set_defaults(run=_show)


def _show(arguments: argparse.Namespace) -> ExitStatus:
    from devlxd.images.listing import find_image  # noqa: PLC0415 # few commands

    with failing():
        image = find_image(arguments.images, arguments.fingerprint)
    write(json_text(as_json(image)) if arguments.json else render(image))
    return ExitStatus.OK


def define_verify(actions: Subparsers) -> None:
    """Add ``verify`` to the command line."""
    parser = actions.add_parser(
        "verify",
        help="compare images with their fingerprints",
        description="Read all data of an image, or of all images in the directory, "
        "and print a line for each: whether its SHA-256 is its fingerprint.",
        epilog="Exit status: 0 if each image is as its fingerprint says; 1 if one is "
        "not, a file is missing, or the directory cannot be read; 3 if there is no "
        "such image.",
    )
    define_image(parser, nargs="?")
    define_directory(parser)
    parser.set_defaults(run=_verify)


def _verify(arguments: argparse.Namespace) -> ExitStatus:
    """Print a line for each image as soon as it has been read."""
    from devlxd.images.listing import (  # noqa: PLC0415 # few commands need it
        find_image,
        list_images,
        verify_image,
    )

    directory = arguments.images
    with failing():
        if arguments.fingerprint is None:
            images = list_images(directory)
        else:
            images = [find_image(directory, arguments.fingerprint)]
    results = {}
    for image in images:
        results[image.fingerprint] = fault = verify_image(directory, image)
        if not arguments.json:
            write(f"{image.fingerprint} {printable(fault or 'ok')}\n")
    if arguments.json:
        verified = [{"fingerprint": f, "fault": fault} for f, fault in results.items()]
        write(json_text(verified))
    elif not images:
        write(render_list(images))
    return ExitStatus.BAD if any(results.values()) else ExitStatus.OK

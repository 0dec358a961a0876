# -*- test-case-name: tests.commands.test_image -*-
"""``devlxd image``: managing the images for guests, and in a guest downloading one."""

from __future__ import annotations

from devlxd.commands.guest import image_get
from devlxd.commands.images import adding, changing, showing
from devlxd.commands.parsers import Subparsers

#: What adds each action to the command line, in the order of the help.
_ACTIONS = (
    adding.define_add,
    showing.define_list,
    showing.define_show,
    showing.define_verify,
    changing.define_publish,
    changing.define_unpublish,
    changing.define_remove,
    image_get.define_get,
)


def define(commands: Subparsers) -> None:
    """Add the command to the command line."""
    image = commands.add_parser(
        "image",
        help="manage images; in a guest: download one",
        description="Manage the images for guests; in a guest, download an image.",
    )
    actions = image.add_subparsers(required=True, metavar="ACTION")
    for define_action in _ACTIONS:
        define_action(actions)

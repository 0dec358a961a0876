# -*- test-case-name: tests.commands.test_image -*-
"""Images as text for people, and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from devlxd.commands.output import paragraphs, printable, table

if TYPE_CHECKING:
    from devlxd.images.listing import ListedImage

#: How many digits of a fingerprint a table has, as in ``lxc image list``.
_DIGITS = 12

#: The units of sizes, each 1024 times the one before.
_UNITS = ("KiB", "MiB", "GiB", "TiB")


def as_json(image: ListedImage) -> dict[str, object]:
    """Return the value for programs."""
    return {
        "fingerprint": image.fingerprint,
        "public": image.description.public,
        "cached": image.description.cached,
        "filename": image.description.filename,
        "type": _kind(image),
        "size": image.size,
        "files": [{"name": file.name, "size": file.size} for file in image.files],
        "damage": image.damage,
    }


def _kind(image: ListedImage) -> str:
    return "split" if image.is_split else "unified"


def _public(image: ListedImage) -> str:
    if image.description.cached and not image.description.public:
        return "cached"
    return printable(image.description.public)


def _size(size: int) -> str:
    """Return a number of bytes for people, as ``lxc`` prints it."""
    if size < 1024:
        return f"{size}B"
    power = min((size.bit_length() - 1) // 10, len(_UNITS))
    return f"{size / 1024**power:.2f}{_UNITS[power - 1]}"


def render_list(images: Sequence[ListedImage]) -> str:
    """Return a table of images."""
    if not images:
        return "no images\n"
    titles = ("FINGERPRINT", "PUBLIC", "SIZE", "TYPE", "FILENAME")
    return table(titles, map(_row, images))


def _row(image: ListedImage) -> Sequence[str]:
    start = image.fingerprint[:_DIGITS]
    if image.damaged is not None:
        return start, "-", _size(image.size), "damaged", image.damaged
    name = image.description.filename
    return start, _public(image), _size(image.size), _kind(image), name


def render(image: ListedImage) -> str:
    """Return one image."""
    return paragraphs(
        [
            ("fingerprint", [image.fingerprint]),
            ("public", [_public(image)]),
            ("type", [_kind(image)]),
            ("size", [_size(image.size)]),
            ("filename", [printable(image.description.filename)]),
            ("files", [f"{file.name} {_size(file.size)}" for file in image.files]),
            ("damage", [] if image.damage is None else [printable(image.damage)]),
        ]
    )

# -*- test-case-name: tests.images.test_descriptions -*-
"""The description of an image in a directory: ``FINGERPRINT.yaml``.

LXD has no such file. It says whether guests may download the image::

    public: true
    filename: rootfs.tar.xz
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import yaml
from attrs import evolve, frozen

from devlxd.booleans import is_false, is_true
from devlxd.files import open_regular
from devlxd.images.file_names import is_filename

#: The maximum length of a description, in bytes.
MAX_DESCRIPTION = 64 * 1024


class DescriptionError(Exception):
    """Raised for a malformed description; the text gives the reason.

    :ivar line: the number of the line, from 1; ``None`` if it is not known.
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.line = line


@frozen
class Description:
    """The content of a description.

    :ivar public: whether every guest may download the image.
    :ivar cached: whether the image is a copy of a public image of another host.
    :ivar filename: the name under which guests save the image; ``""`` for a
        name made from the fingerprint.
    """

    public: bool = False
    cached: bool = False
    filename: str = ""


def read_description(content: bytes) -> Description:
    """Parse a description.

    :raises DescriptionError: if it is malformed.
    """
    if len(content) > MAX_DESCRIPTION:
        raise DescriptionError(f"more than {MAX_DESCRIPTION} bytes")
    try:
        # BaseLoader reads all scalars as text: a filename may look like a
        # number or a date.
        mapping = yaml.load(content, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise DescriptionError(error.problem or "not YAML", line) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise DescriptionError("not YAML") from None
    if not isinstance(mapping, dict):
        raise DescriptionError("not a mapping")
    return Description(
        public=_boolean(mapping, "public"),
        cached=_boolean(mapping, "cached"),
        filename=_filename(mapping),
    )


def _boolean(mapping: dict[object, object], key: str) -> bool:
    value = mapping.get(key, "false")
    if isinstance(value, str) and (is_true(value) or is_false(value)):
        return is_true(value)
    raise DescriptionError(f"{key}: neither true nor false")


def _filename(mapping: dict[object, object]) -> str:
    filename = mapping.get("filename", "")
    if filename == "" or (isinstance(filename, str) and is_filename(filename)):
        return filename
    raise DescriptionError("filename: not a valid filename")


def read_description_file(path: Path) -> bytes | None:
    """Read the file of a description. Symbolic links are not followed.

    :return: its content, or more of it than is valid; ``None`` if there is no file.
    :raises OSError: if it cannot be read.
    """
    try:
        fd = open_regular(path, os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with open(fd, "rb") as file:
        return file.read(MAX_DESCRIPTION + 1)


def with_public(content: bytes, public: bool) -> bytes:
    """Return a description that differs in nothing but ``public``.

    :param content: a valid description. Its comments, its order and the keys that
        devlxd does not know stay.
    :raises DescriptionError: if it is malformed, or written so that this cannot be
        done safely.
    """
    expected = evolve(read_description(content), public=public)
    with suppress(DescriptionError, yaml.YAMLError, ValueError):
        text = content.decode("utf-8", "surrogateescape")
        node = yaml.compose(text, Loader=yaml.BaseLoader)
        assert isinstance(node, yaml.MappingNode)
        changed = _edited(text, node, "true" if public else "false")
        result = changed.encode("utf-8", "surrogateescape")
        if read_description(result) == expected:
            return result
    raise DescriptionError("public cannot be changed here automatically")


def _edited(text: str, node: yaml.MappingNode, value: str) -> str:
    """Return ``text`` with another value of ``public``.

    :param node: the mapping that the text consists of.
    """
    for key, old in reversed(node.value):
        if key.value == "public":
            return text[: old.start_mark.index] + value + text[old.end_mark.index :]
    start = node.start_mark.index
    if node.flow_style:
        start += 1
        separator = ", " if node.value else ""
    else:
        separator = "\n" + " " * node.start_mark.column
    return f"{text[:start]}public: {value}{separator}{text[start:]}"

# -*- test-case-name: tests.images.test_descriptions -*-
"""The description of an image in a directory: ``FINGERPRINT.yaml``.

LXD has no such file. It says whether guests may download the image::

    public: true
    filename: rootfs.tar.xz
"""

from __future__ import annotations

import yaml
from attrs import frozen

from devlxd.booleans import is_false, is_true
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

# -*- test-case-name: tests.guestapi.test_meta_data -*-
"""Meta-data for cloud-init, with ``user.meta-data`` appended to it or merged over it.

cloud-init reads the meta-data as YAML, and needs a mapping. When the config key is
merged, its text stays as it is wherever possible: the entries that it does not
replace are inserted before its first one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping

from attrs import frozen

from devlxd.guestapi.yaml_mappings import MERGE_KEY, MappingText, read_mapping
from devlxd.guestapi.yaml_nodes import NotMergeableError
from devlxd.model import Container
from devlxd.turns import Slices

#: Values that need no quotes between braces.
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")


@frozen
class MetaData:
    """The meta-data of a container.

    :ivar text: the meta-data.
    :ivar problem: why ``user.meta-data`` could not be merged, and was appended.
    """

    text: str
    problem: str | None = None


def nocloud_meta_data(head: str, container: Container) -> Slices[MetaData]:
    """Return a container's meta-data, as for the data source NoCloud of cloud-init.

    The config key ``user.meta-data`` is appended as it is.

    :param head: what the meta-data begins with: empty, or a comment and a newline.
    """
    yield from ()
    return MetaData(head + _block(_defaults(container)) + _user_meta_data(container))


def merged_meta_data(head: str, container: Container) -> Slices[MetaData]:
    """Return a container's meta-data with ``user.meta-data`` merged over it.

    See `merge_meta_data`.
    """
    return merge_meta_data(head, _defaults(container), _user_meta_data(container))


def _defaults(container: Container) -> Mapping[str, str]:
    instance_id = container.config.get("volatile.cloud-init.instance-id")
    return {
        "instance-id": instance_id or container.name,
        "local-hostname": container.hostname,
    }


def _user_meta_data(container: Container) -> str:
    return container.config.get("user.meta-data", "")


def merge_meta_data(
    head: str, defaults: Mapping[str, str], text: str
) -> Slices[MetaData]:
    """Merge ``user.meta-data`` over default values, in slices.

    A key of ``text`` replaces the same key of ``defaults``. If ``text`` repeats a key,
    only the last one is kept, as YAML readers do. A text that is not a mapping is
    appended as it is.

    :param head: what the meta-data begins with: empty, or a comment and a newline.
    :param defaults: the default values by key.
    :param text: the value of ``user.meta-data``.
    """
    problem = None
    try:
        mapping = (yield from read_mapping(text)) if text else None
        if mapping is not None:
            return MetaData(head + _merged(defaults, mapping))
    except NotMergeableError as error:
        problem = error.reason
    return MetaData(head + _block(defaults) + text, problem)


def _block(values: Mapping[str, str], indentation: str = "") -> str:
    return "".join(f"{key}: {value}\n{indentation}" for key, value in values.items())


def _flow(values: Mapping[str, str]) -> str:
    return ", ".join(
        f"{key}: {value if _PLAIN.fullmatch(value) else json.dumps(value)}"
        for key, value in values.items()
    )


def _merged(defaults: Mapping[str, str], mapping: MappingText) -> str:
    if mapping.is_null:
        raise NotMergeableError("not a mapping")
    left = {key: value for key, value in defaults.items() if not mapping.has(key)}
    position = mapping.position
    rest = _without_duplicates(mapping)
    if mapping.is_flow:
        inserted = _flow(left) + (", " if left and mapping.entries else " ")
    elif not (mapping.is_marked or mapping.column):
        return _block(left) + mapping.text[:position] + rest
    else:
        inserted = _block(left, " " * mapping.column)
    return mapping.text[:position] + inserted + rest


def _without_duplicates(mapping: MappingText) -> str:
    """Return the text from the first key on, without entries that later ones replace.

    An entry that others refer to is kept.
    """
    last: dict[Hashable, int] = {
        entry.key: entry.start for entry in mapping.entries if entry.key != MERGE_KEY
    }
    parts = []
    position = mapping.position
    for entry in mapping.entries:
        if last.get(entry.key, entry.start) != entry.start and not entry.is_referenced:
            parts.append(mapping.text[position : entry.start])
            position = entry.end
    return "".join(parts) + mapping.text[position:]

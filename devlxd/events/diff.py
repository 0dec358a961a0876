# -*- test-case-name: tests.events.test_diff -*-
"""Two snapshots -> what has changed, in the words of spec/lxd.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from heapq import heapify, heappop

from devlxd.model import Container, Event
from devlxd.timestamps import timestamp_text

#: The namespace of config keys whose changes are told.
_TOLD = "user."

#: What an event tells: its type, and its metadata in the order of their fields.
Change = tuple[str, Mapping[str, object]]

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_Devices = Mapping[str, Mapping[str, str]]


def changes(old: Container | None, new: Container | None) -> Iterator[Change]:
    """Tell what has changed between two snapshots; ``None`` has nothing.

    Config comes before devices, removed devices before updated and added
    ones; among themselves they are sorted by name.
    """
    yield from _config_changes(old.config if old else {}, new.config if new else {})
    yield from _device_changes(old.devices if old else {}, new.devices if new else {})


def _config_changes(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    # There may be many keys, and few that have changed.
    changed = {key for key in new if new[key] != old.get(key, "")}
    changed.update(key for key in old if key not in new and old[key])
    # To sort them all first would keep others waiting for long.
    waiting = [key for key in changed if key.startswith(_TOLD)]
    heapify(waiting)
    while waiting:
        key = heappop(waiting)
        values = {"old_value": old.get(key, ""), "value": new.get(key, "")}
        yield "config", {"key": key, **values}


def _device_changes(old: _Devices, new: _Devices) -> Iterator[Change]:
    for name in sorted(set(old) - set(new)):
        yield _device_change(name, "removed", old[name])
    for name in sorted(set(old) & set(new)):
        if old[name] != new[name]:
            yield _device_change(name, "updated", new[name])
    for name in sorted(set(new) - set(old)):
        yield _device_change(name, "added", new[name])


def _device_change(name: str, action: str, device: Mapping[str, str]) -> Change:
    config = dict(sorted(device.items()))
    return "device", {"name": name, "action": action, "config": config}


def event_of(container: str, change: Change, timestamp: int) -> Event:
    """Make an event of a change.

    :param timestamp: when it was, in nanoseconds since 1970.
    """
    kind, metadata = change
    message = {
        "timestamp": timestamp_text(timestamp),
        "type": kind,
        "metadata": metadata,
    }
    return Event(container, kind, timestamp, _to_json(message).encode("utf-8"))


def lost(container: str, timestamp: int) -> Event:
    """Make the word that events are missing.

    :param timestamp: from when on none is.
    """
    return event_of(container, ("lost", {}), timestamp)

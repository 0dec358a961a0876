# -*- test-case-name: tests.events.test_diff -*-
"""Two snapshots -> what has changed, in the words of spec/lxd.md."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from heapq import heappop, heappush
from itertools import islice
from typing import TypeVar

from devlxd.model import Container, Event
from devlxd.timestamps import timestamp_text

#: The namespace of config keys whose changes are told.
_TOLD = "user."

#: What an event tells: its type, and its metadata in the order of their fields.
Change = tuple[str, Mapping[str, object]]

#: How many names are compared in one step.
_STEP = 4096

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_T = TypeVar("_T")

_Devices = Mapping[str, Mapping[str, str]]


def changes(old: Container | None, new: Container | None) -> Iterator[Change | None]:
    """Tell what has changed between two snapshots; ``None`` has nothing.

    Config comes before devices, removed devices before updated and added
    ones; among themselves they are sorted by name.

    :return: the changes, and ``None`` after each step of comparing what is large.
    """
    yield from _config_changes(old.config if old else {}, new.config if new else {})
    yield from _device_changes(old.devices if old else {}, new.devices if new else {})


def _config_changes(
    old: Mapping[str, str], new: Mapping[str, str]
) -> Iterator[Change | None]:
    # There may be many keys. To sort them all first would keep others waiting.
    waiting: list[str] = []
    for key in _differing(old, new, ""):
        if key is None:
            yield None
        elif key.startswith(_TOLD):
            heappush(waiting, key)
    while waiting:
        key = heappop(waiting)
        values = {"old_value": old.get(key, ""), "value": new.get(key, "")}
        yield "config", {"key": key, **values}


def _device_changes(old: _Devices, new: _Devices) -> Iterator[Change | None]:
    waiting: list[tuple[int, str]] = []
    for name in _differing(old, new, None):
        if name is None:
            yield None
        else:
            heappush(waiting, ((name in new) + (name not in old), name))
    while waiting:
        kind, name = heappop(waiting)
        device = new[name] if kind else old[name]
        yield _device_change(name, ("removed", "updated", "added")[kind], device)


def _differing(
    old: Mapping[str, _T], new: Mapping[str, _T], none: _T | None
) -> Iterator[str | None]:
    """Find the names of what differs, and say ``None`` after each step."""
    for step in _steps_of(new):
        yield from [name for name in step if new[name] != old.get(name, none)]
        if len(step) == _STEP:
            yield None
    for step in _steps_of(old):
        yield from [name for name in step if name not in new and old[name] != none]
        if len(step) == _STEP:
            yield None


def _steps_of(names: Collection[str]) -> Iterable[Collection[str]]:
    if len(names) < _STEP:
        return (names,)
    rest = iter(names)
    return iter(lambda: list(islice(rest, _STEP)), [])


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

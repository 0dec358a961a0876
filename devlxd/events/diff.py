# -*- test-case-name: tests.events.test_diff -*-
"""The difference of two snapshots, and the events that are made of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from heapq import heappop, heappush
from itertools import islice
from types import MappingProxyType
from typing import TypeVar

from devlxd.model import Container, Event

#: The type and the metadata of an event, the fields in the order of the published
#: specification of the API (LXD's dev-lxd document).
Change = tuple[str, Mapping[str, object]]

#: How many names are compared in one step.
_STEP = 4096

_T = TypeVar("_T")

_Devices = Mapping[str, Mapping[str, str]]


def changes(
    old: Container | None, new: Container | None, namespaces: tuple[str, ...]
) -> Iterator[Change | None]:
    """Compare two snapshots; ``None`` is a container without config and devices.

    Changes of the config come before those of devices, removed devices before
    updated and added ones; otherwise they are sorted by name.

    :param namespaces: the prefixes of the config keys to compare.
    :return: the changes, and ``None`` after each step of a long comparison.
    """
    yield from _config_changes(
        old.config if old else {}, new.config if new else {}, namespaces
    )
    yield from _device_changes(old.devices if old else {}, new.devices if new else {})


def _config_changes(
    old: Mapping[str, str], new: Mapping[str, str], namespaces: tuple[str, ...]
) -> Iterator[Change | None]:
    # A heap: sorting very many keys at once would block the reactor.
    keys: list[str] = []
    for key in _differing(old, new, ""):
        if key is None:
            yield None
        elif key.startswith(namespaces):
            heappush(keys, key)
    while keys:
        key = heappop(keys)
        old_value, value = old.get(key, ""), new.get(key, "")
        yield "config", {"key": key, "old_value": old_value, "value": value}


def _device_changes(old: _Devices, new: _Devices) -> Iterator[Change | None]:
    names: list[tuple[int, str]] = []
    for name in _differing(old, new, None):
        if name is None:
            yield None
        else:
            heappush(names, ((name in new) + (name not in old), name))
    while names:
        kind, name = heappop(names)
        device = new[name] if kind else old[name]
        yield _device_change(name, ("removed", "updated", "added")[kind], device)


def _differing(
    old: Mapping[str, _T], new: Mapping[str, _T], none: _T | None
) -> Iterator[str | None]:
    """Return the names of what differs, and ``None`` after each full step.

    :param none: the value that counts as none at all.
    """
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
    config = MappingProxyType(dict(sorted(device.items())))
    return "device", {"name": name, "action": action, "config": config}


def event_of(container: str, change: Change, timestamp: int) -> Event:
    """Make an event of a change.

    :param timestamp: the time of the change, in nanoseconds since 1970.
    :raises UnicodeEncodeError: when UTF-8 cannot encode a value.
    """
    kind, metadata = change
    return Event(container, kind, timestamp, metadata)


def lost(container: str, timestamp: int) -> Event:
    """Make the event that says that events are missing.

    :param timestamp: the time after which none is missing.
    """
    return Event(container, "lost", timestamp, {})

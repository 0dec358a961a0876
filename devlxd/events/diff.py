# -*- test-case-name: tests.events.test_diff -*-
"""The changes between two snapshots, and their events."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from heapq import heappop, heappush
from itertools import islice
from types import MappingProxyType
from typing import TypeVar

from devlxd.model import Container, Event

#: The type and the metadata of an event. The fields of the metadata are in a fixed
#: order, in which dialects may render them.
Change = tuple[str, Mapping[str, object]]

#: The number of config keys or devices that are compared in one step.
_STEP = 4096

_T = TypeVar("_T")

_Devices = Mapping[str, Mapping[str, str]]


def changes(
    old: Container | None, new: Container | None, namespaces: tuple[str, ...]
) -> Iterator[Change | None]:
    """Yield the changes from the snapshot ``old`` to the snapshot ``new``.

    ``None`` stands for a snapshot without config and devices. The changes of the
    config come first, then the removed, the updated and the added devices. Each of
    these groups is sorted by name.

    :param namespaces: the prefixes of the config keys to compare.
    :return: an iterator of the changes, with ``None`` after each step of a long
        comparison.
    """
    yield from _config_changes(
        old.config if old else {}, new.config if new else {}, namespaces
    )
    yield from _device_changes(old.devices if old else {}, new.devices if new else {})


def _config_changes(
    old: Mapping[str, str], new: Mapping[str, str], namespaces: tuple[str, ...]
) -> Iterator[Change | None]:
    # A heap, as sorting very many keys in one step would block the reactor.
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
    old: Mapping[str, _T], new: Mapping[str, _T], absent: _T | None
) -> Iterator[str | None]:
    """Yield the names with different values, and ``None`` after each full step.

    :param absent: the value that is equivalent to a missing one.
    """
    for step in _steps_of(new):
        yield from [name for name in step if new[name] != old.get(name, absent)]
        if len(step) == _STEP:
            yield None
    for step in _steps_of(old):
        yield from [name for name in step if name not in new and old[name] != absent]
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
    """Return the event of a change.

    :param timestamp: the time of the change, in nanoseconds since 1970.
    :raises UnicodeEncodeError: when UTF-8 cannot encode a value.
    """
    kind, metadata = change
    return Event(container, kind, timestamp, metadata)


def lost_event(container: str, timestamp: int) -> Event:
    """Return an event of the type ``lost``, which reports missing events.

    :param timestamp: the time after which no event is missing.
    """
    return Event(container, "lost", timestamp, {})

# -*- test-case-name: tests.events.test_journal -*-
"""The encoding of snapshots and events in the journal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType

from attrs import frozen

from devlxd.compact_json import compact_json
from devlxd.events.journal_integrity import checksum_of
from devlxd.limits import CurrentLimits
from devlxd.model import Container, Event
from devlxd.model.container import UUID_KEY

#: The number of config keys or devices that are encoded as one piece of JSON, and the
#: number of pieces that are encoded in one step. A small snapshot has fewer.
_PIECE = 400
_PIECES = 6

#: A step ends after this many events, or once they exceed this many bytes.
_EVENTS = 128
_EVENTS_BYTES = 256 * 1024

#: An event: timestamp, type, checksum, metadata.
EventRow = tuple[int, str, int, bytes]


@frozen
class EncodedChange:
    """An encoded change: a snapshot, and the events that led to it.

    :ivar container: the snapshot.
    :ivar events: the events.
    :ivar document: the snapshot as JSON.
    :ivar rows: the rows of the newest of these events, the newest first.
    """

    container: Container
    events: Sequence[Event]
    document: bytes
    rows: Sequence[EventRow]


class ChangeEncoder:
    """An encoder of changes, which keeps prepared ones until they are recorded.

    :param limits: how many events of a change are encoded, and their size. Older events
        are omitted.
    :ivar namespaces: the prefixes of the config keys that are encoded, besides
        ``volatile.uuid``.
    """

    def __init__(self, limits: CurrentLimits) -> None:
        self._limits = limits
        self._encoded: dict[int, EncodedChange] = {}
        self.namespaces: tuple[str, ...] = ()

    def prepare(self, container: Container, events: Sequence[Event]) -> Iterator[None]:
        """Encode and keep a change, in small steps; yield after each."""
        pieces = []
        for number, piece in enumerate(_pieces_of(container, self.namespaces), start=1):
            pieces.append(piece)
            if number % _PIECES == 0:
                yield
        rows: list[EventRow] = []
        size = 0
        for row in self._rows_of(events):
            rows.append(row)
            size += len(row[-1])
            if len(rows) % _EVENTS == 0 or size > _EVENTS_BYTES:
                size = 0
                yield
        document = "".join(pieces).encode()
        change = EncodedChange(container, events, document, rows)
        self._encoded[id(container)] = change

    def pop(self, container: Container, events: Sequence[Event]) -> EncodedChange:
        """Remove and return a prepared change; encode it if it was not prepared."""
        change = self._encoded.pop(id(container), None)
        if change is None or change.events is not events:
            for _ in self.prepare(container, events):
                pass
            change = self._encoded.pop(id(container))
        return change

    def clear(self) -> None:
        """Remove all prepared changes."""
        self._encoded.clear()

    def _rows_of(self, events: Sequence[Event]) -> Iterator[EventRow]:
        """Yield the rows of as many events as are kept, the newest first."""
        limits = self._limits.value
        size = 0
        for event in events[: -limits.kept_events - 1 : -1]:
            metadata = compact_json(event.metadata).encode()
            size += len(metadata)
            if size > limits.container_journal_bytes:
                return
            checksum = checksum_of(event.timestamp, event.type, data=metadata)
            yield event.timestamp, event.type, checksum, metadata


def decoded_metadata(text: bytes) -> Mapping[str, object]:
    """Decode the metadata of an event, as read-only mappings."""
    metadata: Mapping[str, object] = json.loads(text, object_hook=MappingProxyType)
    return metadata


def decoded_container(name: str, document: bytes) -> Container:
    """Decode the recorded snapshot of the container ``name``."""
    return Container(name, **json.loads(document))


def _pieces_of(container: Container, namespaces: tuple[str, ...]) -> Iterator[str]:
    """Yield the JSON of a snapshot in pieces: its identity, its devices, its config.

    Of the config, this is ``volatile.uuid`` and the keys of the namespaces: other keys
    are not needed, and may be secret.
    """
    identity = {"id": container.id, "origin": container.origin}
    yield json.dumps(identity)[:-1] + ', "devices": {'
    yield from _items_of(
        (name, dict(device)) for name, device in container.devices.items()
    )
    yield '}, "config": {'
    yield from _items_of(
        (key, value)
        for key, value in container.config.items()
        if key.startswith(namespaces) or key == UUID_KEY
    )
    yield "}}"


def _items_of(items: Iterator[tuple[str, object]]) -> Iterator[str]:
    separator = ""
    while piece := dict(islice(items, _PIECE)):
        yield separator + json.dumps(piece)[1:-1]
        separator = ", "

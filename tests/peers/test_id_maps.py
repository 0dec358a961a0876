"""Tests of `devlxd.peers.id_maps`, and the contract of `IIDMap`."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.interfaces import IIDMap
from devlxd.model import Container
from devlxd.peers.id_maps import (
    PRIVILEGED,
    IDMap,
    IDMapError,
    parse_uid_map,
    recorded_id_map,
)
from devlxd.testing.contracts import IDMapContract

CURRENT = "volatile.idmap.current"
LAST = "volatile.last_state.idmap"


def id_map_entry(inside: int, on_host: int, count: int) -> dict[str, object]:
    """Return a range of uids as LXD records it in an id map."""
    return {
        "Isuid": True,
        "Isgid": False,
        "Hostid": on_host,
        "Nsid": inside,
        "Maprange": count,
    }


def id_map_value(host_id: int, **changes: object) -> str:
    """Return an id map as LXD records it in the configuration.

    :param host_id: the first uid of the container on the host.
    :param changes: fields that replace the usual ones in the range of uids.
    """
    uids = id_map_entry(0, host_id, 65536)
    gids = {**uids, "Isuid": False, "Isgid": True, "Hostid": 7}
    return json.dumps([gids, {**uids, **changes}])


class IDMapTests(IDMapContract, SynchronousTestCase):
    """The contract of `IIDMap`, run on `IDMap`."""

    def make_id_map(self, *ranges: tuple[int, int, int]) -> IIDMap:
        return IDMap(ranges)


class ParseUIDMapTests(IDMapContract, SynchronousTestCase):
    """The contract of `IIDMap`, run on the result of `parse_uid_map`; its errors."""

    def make_id_map(self, *ranges: tuple[int, int, int]) -> IIDMap:
        lines = ["{:>10} {:>10} {:>10}\n".format(*numbers) for numbers in ranges]
        return parse_uid_map("".join(lines))

    def test_privileged(self) -> None:
        """In a privileged container every uid is that of the host."""
        self.assertEqual(PRIVILEGED, parse_uid_map("0 0 4294967295\n"))
        self.assertEqual(PRIVILEGED.inside(0), 0)
        self.assertEqual(PRIVILEGED.inside(1000), 1000)

    def test_no_map_yet(self) -> None:
        """A user namespace without a map has no uids."""
        self.assertIsNone(parse_uid_map("").inside(0))

    def test_unknown_format(self) -> None:
        """Text in another format is an error."""
        for text in ("x", "0 0", "0 0 1 2", "a b c"):
            self.assertRaises(IDMapError, parse_uid_map, text)


class RecordedIDMapTests(IDMapContract, SynchronousTestCase):
    """The contract of `IIDMap`, run on the result of `recorded_id_map`; its errors."""

    def make_id_map(self, *ranges: tuple[int, int, int]) -> IIDMap:
        value = json.dumps([id_map_entry(*numbers) for numbers in ranges])
        recorded = recorded_id_map(Container("c1", {CURRENT: value}))
        assert recorded is not None
        return recorded

    def test_current(self) -> None:
        """The map of the running container is used, not that of its last start."""
        config = {CURRENT: id_map_value(100000), LAST: id_map_value(200000)}
        recorded = recorded_id_map(Container("c1", config))
        self.assertEqual(recorded, IDMap(((0, 100000, 65536),)))

    def test_last(self) -> None:
        """Without a map of the running container, the map of its last start is used."""
        for config in ({LAST: id_map_value(5)}, {CURRENT: "", LAST: id_map_value(5)}):
            recorded = recorded_id_map(Container("c1", config))
            self.assertEqual(recorded, IDMap(((0, 5, 65536),)))

    def test_privileged(self) -> None:
        """An empty list is the map of a privileged container."""
        self.assertEqual(recorded_id_map(Container("c1", {CURRENT: "[]"})), PRIVILEGED)

    def test_none(self) -> None:
        """A container without a recorded map has no map."""
        self.assertIsNone(recorded_id_map(Container("c1")))

    def test_no_root(self) -> None:
        """With a map that does not map uid 0, no caller is root."""
        for changes in ({"Nsid": 1}, {"Maprange": 0}, {"Isuid": False}):
            config = {CURRENT: id_map_value(5, **changes)}
            recorded = recorded_id_map(Container("c1", config))
            assert recorded is not None
            self.assertNotIn(0, [recorded.inside(n) for n in range(10)])

    @given(
        st.text() | st.sampled_from(["{}", "[{}]", "1", "[[]]", "null", '[{"a":1}]'])
    )
    def test_unknown_format(self, text: str) -> None:
        """A map of an unknown format is an error, not regarded as `PRIVILEGED`."""
        container = Container("c1", {CURRENT: "x" + text})
        self.assertRaises(IDMapError, recorded_id_map, container)
        try:
            recorded = recorded_id_map(Container("c1", {CURRENT: text}))
        except IDMapError:
            return
        if recorded is not None:
            self.assertEqual((recorded, json.loads(text)), (PRIVILEGED, []))

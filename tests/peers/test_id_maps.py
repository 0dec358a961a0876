"""Tests of `devlxd.peers.id_maps`."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from devlxd.interfaces import IIDMap
from devlxd.model import Container
from devlxd.peers.id_maps import (
    PRIVILEGED,
    IDMap,
    IDMapError,
    parse_uid_map,
    recorded_id_map,
)

CURRENT = "volatile.idmap.current"
LAST = "volatile.last_state.idmap"


def idmap(host_id: int, **changes: object) -> str:
    """Write an id map down as LXD does."""
    uids = {
        "Isuid": True,
        "Isgid": False,
        "Hostid": host_id,
        "Nsid": 0,
        "Maprange": 65536,
    }
    gids = {**uids, "Isuid": False, "Isgid": True, "Hostid": 7}
    return json.dumps([gids, {**uids, **changes}])


class IDMapTests(SynchronousTestCase):
    """Ids inside and outside."""

    def test_interface(self) -> None:
        """It is an id map."""
        self.assertTrue(verifyObject(IIDMap, PRIVILEGED))

    def test_ranges(self) -> None:
        """An id is found in its range, and in no other."""
        id_map = parse_uid_map(
            "         0     100000       1000\n      1000       5000          1\n"
        )
        for host_id, inside in (
            (100000, 0),
            (100999, 999),
            (101000, None),
            (5000, 1000),
            (5001, None),
            (0, None),
            (65534, None),
        ):
            self.assertEqual(id_map.inside(host_id), inside)

    def test_privileged(self) -> None:
        """Every user of the host is the same one in a privileged container."""
        self.assertEqual(PRIVILEGED, parse_uid_map("0 0 4294967295\n"))
        self.assertEqual(PRIVILEGED.inside(0), 0)
        self.assertEqual(PRIVILEGED.inside(1000), 1000)

    def test_no_map_yet(self) -> None:
        """A user namespace without a map has nobody in it."""
        self.assertIsNone(parse_uid_map("").inside(0))

    def test_no_uid_map(self) -> None:
        """What is no uid_map is an error."""
        for text in ("x", "0 0", "0 0 1 2", "a b c"):
            self.assertRaises(IDMapError, parse_uid_map, text)


class RecordedTests(SynchronousTestCase):
    """Id maps that LXD wrote down."""

    def test_current(self) -> None:
        """The map of the running container counts."""
        container = Container("c1", {CURRENT: idmap(100000), LAST: idmap(200000)})
        self.assertEqual(recorded_id_map(container), IDMap(((0, 100000, 65536),)))

    def test_last(self) -> None:
        """Without one, the map of the last start counts."""
        for config in ({LAST: idmap(5)}, {CURRENT: "", LAST: idmap(5)}):
            recorded = recorded_id_map(Container("c1", config))
            self.assertEqual(recorded, IDMap(((0, 5, 65536),)))

    def test_privileged(self) -> None:
        """An empty list says that the container is privileged."""
        self.assertEqual(recorded_id_map(Container("c1", {CURRENT: "[]"})), PRIVILEGED)

    def test_nothing(self) -> None:
        """Where nothing is written down, nothing is said."""
        self.assertIsNone(recorded_id_map(Container("c1")))

    def test_maps_no_root(self) -> None:
        """A map without uid 0 makes nobody root."""
        for changes in ({"Nsid": 1}, {"Maprange": 0}, {"Isuid": False}):
            recorded = recorded_id_map(Container("c1", {CURRENT: idmap(5, **changes)}))
            assert recorded is not None
            self.assertNotIn(0, [recorded.inside(n) for n in range(10)])

    @given(
        st.text() | st.sampled_from(["{}", "[{}]", "1", "[[]]", "null", '[{"a":1}]'])
    )
    def test_anything_else(self, text: str) -> None:
        """A map that cannot be read is an error, and never the host's root."""
        container = Container("c1", {CURRENT: "x" + text})
        self.assertRaises(IDMapError, recorded_id_map, container)
        try:
            recorded = recorded_id_map(Container("c1", {CURRENT: text}))
        except IDMapError:
            return
        if recorded is not None:
            self.assertEqual((recorded, json.loads(text)), (PRIVILEGED, []))

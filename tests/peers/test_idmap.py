"""Tests of `devlxd.peers.idmap`."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.model import Container
from devlxd.peers.idmap import IDMapError, host_uid_of_root

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


class HostUIDOfRootTests(SynchronousTestCase):
    """Which user of the host is a container's root."""

    def test_current(self) -> None:
        """The map of the running container counts."""
        container = Container("c1", {CURRENT: idmap(100000), LAST: idmap(200000)})
        self.assertEqual(host_uid_of_root(container), 100000)

    def test_last(self) -> None:
        """Without one, the map of the last start counts."""
        self.assertEqual(host_uid_of_root(Container("c1", {LAST: idmap(5)})), 5)
        both = Container("c1", {CURRENT: "", LAST: idmap(5)})
        self.assertEqual(host_uid_of_root(both), 5)

    def test_privileged(self) -> None:
        """The root of a container without a map is the host's."""
        self.assertEqual(host_uid_of_root(Container("c1")), 0)
        self.assertEqual(host_uid_of_root(Container("c1", {CURRENT: "[]"})), 0)

    def test_maps_no_root(self) -> None:
        """A map without uid 0 makes nobody root."""
        for changes in ({"Nsid": 1}, {"Maprange": 0}, {"Isuid": False}):
            container = Container("c1", {CURRENT: idmap(5, **changes)})
            self.assertRaises(IDMapError, host_uid_of_root, container)

    @given(
        st.text() | st.sampled_from(["{}", "[{}]", "1", "[[]]", "null", '[{"a":1}]'])
    )
    def test_anything_else(self, text: str) -> None:
        """A map that cannot be read is an error, and never the host's root."""
        container = Container("c1", {CURRENT: "x" + text})
        self.assertRaises(IDMapError, host_uid_of_root, container)
        try:
            uid = host_uid_of_root(Container("c1", {CURRENT: text}))
        except IDMapError:
            return
        self.assertEqual((uid, json.loads(text or "[]")), (0, []))

"""Tests of `devlxd.events.diff`."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from devlxd.events.diff import Change, changes, event_of, lost_event
from devlxd.model import Container, Event

OLD = Container(
    "c1",
    {"user.a": "1", "user.gone": "x", "limits.cpu": "1", "user.same": "s"},
    {"eth0": {"type": "nic"}, "kvm": {"type": "unix-char"}, "root": {"path": "/"}},
)

NEW = Container(
    "c1",
    {"user.a": "2", "user.new": "y", "limits.cpu": "2", "user.same": "s"},
    {
        "eth0": {"type": "nic", "mtu": "9"},
        "usb": {"type": "usb"},
        "root": {"path": "/"},
    },
)


def changed(
    old: Container | None,
    new: Container | None,
    namespaces: tuple[str, ...] = ("user.",),
) -> list[Change]:
    """Return all changes between two snapshots."""
    return [change for change in changes(old, new, namespaces) if change is not None]


class ChangesTests(SynchronousTestCase):
    """The changes between two snapshots."""

    def test_order(self) -> None:
        """The order is: keys, removed devices, other devices; each sorted by name."""
        self.assertEqual(
            changed(OLD, NEW),
            [
                ("config", {"key": "user.a", "old_value": "1", "value": "2"}),
                ("config", {"key": "user.gone", "old_value": "x", "value": ""}),
                ("config", {"key": "user.new", "old_value": "", "value": "y"}),
                (
                    "device",
                    {
                        "name": "kvm",
                        "action": "removed",
                        "config": {"type": "unix-char"},
                    },
                ),
                (
                    "device",
                    {
                        "name": "eth0",
                        "action": "updated",
                        "config": {"mtu": "9", "type": "nic"},
                    },
                ),
                (
                    "device",
                    {"name": "usb", "action": "added", "config": {"type": "usb"}},
                ),
            ],
        )

    def test_namespaces(self) -> None:
        """Only keys of the namespaces are compared."""
        keys = ("limits.cpu", "user.a", "cloud-init.vendor-data", "users")
        new = Container("c1", dict.fromkeys(keys, "1"))
        for namespaces, expected in (
            ((), []),
            (("user.",), ["user.a"]),
            (("user.", "cloud-init."), ["cloud-init.vendor-data", "user.a"]),
            (("",), sorted(keys)),
        ):
            found = [metadata["key"] for _, metadata in changed(None, new, namespaces)]
            self.assertEqual(found, expected)

    def test_nothing(self) -> None:
        """Keys of other namespaces, and empty values of new keys, are not changes."""
        hidden = evolve(OLD, config={**OLD.config, "limits.cpu": "9", "user.b": ""})
        self.assertEqual(changed(OLD, hidden), [])
        self.assertEqual(changed(None, None), [])

    def test_all(self) -> None:
        """The removal of a container removes all of its keys and devices."""
        removed = changed(OLD, None)
        self.assertEqual([m["value"] for t, m in removed if t == "config"], [""] * 3)
        self.assertEqual(
            [m["action"] for t, m in removed if t == "device"], ["removed"] * 3
        )

    def test_large(self) -> None:
        """Large snapshots are compared in steps."""
        one, two = (
            Container(
                "c1",
                {f"user.{n}": value for n in range(start, start + 10_000)},
                {f"d{n}": {"type": value} for n in range(start, start + 5000)},
            )
            for start, value in ((0, "a"), (1000, "b"))
        )
        found = list(changes(one, two, ("user.",)))
        self.assertEqual(found[:4], [None] * 4)
        self.assertEqual(found.count(None), 2 * (10_000 // 4096) + 2)
        found_changes = [change for change in found if change is not None]
        keys = [metadata["key"] for kind, metadata in found_changes if kind == "config"]
        self.assertEqual(keys, sorted({*one.config, *two.config}))
        devices = [
            (m["action"], m["name"]) for kind, m in found_changes if kind == "device"
        ]
        self.assertEqual(
            devices,
            [
                *(
                    ("removed", name)
                    for name in sorted(set(one.devices) - set(two.devices))
                ),
                *(
                    ("updated", name)
                    for name in sorted(set(one.devices) & set(two.devices))
                ),
                *(
                    ("added", name)
                    for name in sorted(set(two.devices) - set(one.devices))
                ),
            ],
        )

    def test_small(self) -> None:
        """Small snapshots are compared in one step."""
        self.assertNotIn(None, list(changes(OLD, NEW, ("user.",))))


class EventTests(SynchronousTestCase):
    """The events of changes."""

    def test_event_of(self) -> None:
        """An event has the type and the metadata of its change."""
        (change,) = changed(None, Container("c1", {"user.a": "1"}))
        event = event_of("c1", change, 7)
        self.assertEqual((event.container, event.timestamp), ("c1", 7))
        self.assertEqual((event.type, event.metadata), change)

    def test_lost(self) -> None:
        """An event of the type ``lost`` has no metadata."""
        self.assertEqual(lost_event("c1", 5), Event("c1", "lost", 5, {}))

"""Tests of `devlxd.model`."""

from __future__ import annotations

from types import MappingProxyType

from attrs import evolve
from attrs.exceptions import FrozenInstanceError
from twisted.trial.unittest import SynchronousTestCase

from devlxd.model import Container, is_container_name


class ContainerNameTests(SynchronousTestCase):
    """Names that containers may have."""

    def test_names_of_runtimes(self) -> None:
        """The names that LXC, LXD, nspawn, podman and docker give are names."""
        for name in ("c1", "web_c1", "my.machine", "a" * 128, "0ab", "_x"):
            self.assertTrue(is_container_name(name), name)

    def test_what_is_no_name(self) -> None:
        """What could leave a directory, hide in it or break a line is no name."""
        for name in ("", ".", "..", ".c1", "-c1", "a/b", "a b", "a\n", "ä", "a" * 129):
            self.assertFalse(is_container_name(name), name)


class ContainerTests(SynchronousTestCase):
    """Snapshots."""

    def test_cannot_be_changed(self) -> None:
        """Whoever holds a snapshot sees the same one for ever."""
        config = {"user.a": "1"}
        devices = {"eth0": {"type": "nic"}}
        container = Container("c1", config, devices)
        config["user.a"] = "2"
        devices["eth0"]["type"] = "disk"
        self.assertEqual(container.config["user.a"], "1")
        self.assertEqual(container.devices["eth0"]["type"], "nic")
        with self.assertRaises(TypeError):
            container.devices["eth0"]["type"] = "x"  # type: ignore[index] # on purpose
        with self.assertRaises(FrozenInstanceError):
            container.name = "c2"  # type: ignore[misc] # on purpose

    def test_not_copied(self) -> None:
        """What cannot be changed is taken as it is, however large it may be."""
        device = MappingProxyType({"type": "nic"})
        config = MappingProxyType({"user.a": "1"})
        devices = MappingProxyType({"eth0": device})
        container = evolve(Container("c1", config, devices), hostname="c2")
        self.assertIs(container.config, config)
        self.assertIs(container.devices, devices)
        mixed = Container("c1", {}, MappingProxyType({"eth0": {"type": "nic"}}))
        with self.assertRaises(TypeError):
            mixed.devices["eth0"]["type"] = "x"  # type: ignore[index] # on purpose

    def test_another(self) -> None:
        """A container made anew under the same name is told by uuid or id."""
        uuid = Container("c1", {"volatile.uuid": "1"})
        self.assertFalse(uuid.is_another_than(Container("c1")))
        self.assertFalse(Container("c1").is_another_than(uuid))
        self.assertFalse(uuid.is_another_than(evolve(uuid, devices={"a": {}})))
        self.assertTrue(
            uuid.is_another_than(evolve(uuid, config={"volatile.uuid": "2"}))
        )
        self.assertTrue(uuid.is_another_than(evolve(uuid, id="2")))

    def test_equal_by_value(self) -> None:
        """Two readings of an unchanged document are the same snapshot."""
        self.assertEqual(
            Container("c1", {"a": "b"}, {"d": {"e": "f"}}),
            Container("c1", {"a": "b"}, {"d": {"e": "f"}}),
        )

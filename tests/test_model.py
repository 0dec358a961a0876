"""Tests of `devlxd.model`."""

from __future__ import annotations

from types import MappingProxyType

from attrs import evolve
from attrs.exceptions import FrozenInstanceError
from twisted.trial.unittest import SynchronousTestCase

from devlxd.model import Container, is_container_name


class ContainerNameTests(SynchronousTestCase):
    """Valid names of containers."""

    def test_names_of_runtimes(self) -> None:
        """The names that LXC, LXD, nspawn, podman and docker use are valid."""
        for name in ("c1", "web_c1", "my.machine", "a" * 128, "0ab", "_x"):
            self.assertTrue(is_container_name(name), name)

    def test_invalid_names(self) -> None:
        """Hidden names, paths, and names that break a log line are invalid."""
        for name in ("", ".", "..", ".c1", "-c1", "a/b", "a b", "a\n", "ä", "a" * 129):
            self.assertFalse(is_container_name(name), name)


class ContainerTests(SynchronousTestCase):
    """Snapshots of containers."""

    def test_immutable(self) -> None:
        """A snapshot does not change when the mappings change that it was made from."""
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
        """A read-only mapping is used as it is, without a copy."""
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
        """Snapshots with different uuids or ids are of different containers."""
        uuid = Container("c1", {"volatile.uuid": "1"})
        self.assertEqual((uuid.uuid, Container("c1").uuid), ("1", ""))
        self.assertFalse(uuid.is_different_from(Container("c1")))
        self.assertFalse(Container("c1").is_different_from(uuid))
        self.assertFalse(uuid.is_different_from(evolve(uuid, devices={"a": {}})))
        self.assertTrue(
            uuid.is_different_from(evolve(uuid, config={"volatile.uuid": "2"}))
        )
        self.assertTrue(uuid.is_different_from(evolve(uuid, id="2")))

    def test_equal_by_value(self) -> None:
        """Two snapshots with the same values are equal."""
        self.assertEqual(
            Container("c1", {"a": "b"}, {"d": {"e": "f"}}),
            Container("c1", {"a": "b"}, {"d": {"e": "f"}}),
        )


class ContainerValidationTests(SynchronousTestCase):
    """Values that a `Container` rejects."""

    def assert_rejected(self, message: str, *args: object, **values: object) -> None:
        """Check that `Container` raises a `TypeError` with ``message``."""
        with self.assertRaises(TypeError) as caught:
            Container("c1", *args, **values)  # type: ignore[arg-type]  # on purpose
        self.assertEqual(str(caught.exception), message)

    def test_config(self) -> None:
        """Config keys and values must be text; the error names the key."""
        self.assert_rejected(
            "config key 'user.x' must be text, not int", {"user.a": "1", "user.x": 1}
        )
        self.assert_rejected("config key 1 must be text, not int", {1: "user.x"})
        self.assert_rejected("config key 'a' must be text, not bytes", {"a": b""})
        self.assert_rejected("config must be a mapping, not list", ["user.x"])

    def test_devices(self) -> None:
        """Device names, keys and values must be text; the error names both."""
        self.assert_rejected(
            "device 'eth0' key 'mtu' must be text, not int", {}, {"eth0": {"mtu": 1500}}
        )
        self.assert_rejected(
            "device 'eth0' key 1 must be text, not int", {}, {"eth0": {1: "x"}}
        )
        self.assert_rejected(
            "device 'eth0' must be a mapping, not str", {}, {"eth0": "nic"}
        )
        self.assert_rejected("device name 0 must be text, not int", {}, {0: {}})
        self.assert_rejected("devices must be a mapping, not NoneType", {}, None)

    def test_frozen_devices(self) -> None:
        """Devices in a read-only mapping are checked unless they are read-only too."""
        devices = MappingProxyType({"eth0": {"mtu": 1500}})
        message = "device 'eth0' key 'mtu' must be text, not int"
        self.assert_rejected(message, {}, devices)

    def test_texts(self) -> None:
        """All other values must be text."""
        for key in ("id", "hostname", "runtime", "lxcpath", "origin"):
            self.assert_rejected(f"{key} must be text, not int", **{key: 1})
        with self.assertRaisesRegex(TypeError, "^name must be text, not NoneType$"):
            Container(None)  # type: ignore[arg-type] # on purpose

    def test_name(self) -> None:
        """The name must be a valid container name."""
        with self.assertRaisesRegex(ValueError, "^'a/b' is not a valid container name"):
            Container("a/b")
        with self.assertRaises(ValueError):
            evolve(Container("c1"), name="")

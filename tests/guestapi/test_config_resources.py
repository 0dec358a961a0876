"""Tests of `devlxd.guestapi.config_resources`, and of merged meta-data."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml
from attrs import evolve
from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.guestapi import config_resources
from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.dialects.incus import DIALECT as INCUS
from devlxd.guestapi.dialects.lxd import DIALECT as LXD
from devlxd.guestapi.dialects.lxd6 import DIALECT as LXD6
from devlxd.guestapi.ssh_keys import MergedKeys, merge_ssh_keys
from devlxd.model import Container
from devlxd.testing import GuestConnection, site_for
from devlxd.turns import Slices
from tests.guestapi.test_resources import body_of, turns_of

HEAD = "#cloud-config\n"

KEY = {"cloud-init.ssh-keys.mine": "root:gh:me"}

ROOT = {"name": "root", "ssh_import_id": ["gh:me"]}

VENDOR_DATA = {"cloud-init.vendor-data": HEAD + "users: [a]\n"}

SCRIPT = {"cloud-init.user-data": "#!/bin/sh\necho secret\n"}


def lines_of(logs: Sequence[LogEvent]) -> list[str | None]:
    """Return the lines that a captured log has."""
    return [formatEvent(event) for event in logs]


class ConfigTestCase(SynchronousTestCase):
    """A base class with a guest of one container."""

    def connect(
        self, config: Mapping[str, str], dialect: Dialect = LXD6
    ) -> GuestConnection:
        """Connect as root of a container ``c1`` with some config."""
        self.store = MemoryStore([Container("c1", config)])
        self.site = site_for(self.store, "c1", dialect)
        return GuestConnection(self.site)

    def keys_of(self, guest: GuestConnection) -> list[str]:
        """Return the config keys in the list that the guest receives."""
        paths = json.loads(body_of(guest.get("/1.0/config")))
        return [path.removeprefix("/1.0/config/") for path in paths]

    def values_of(self, guest: GuestConnection) -> dict[str, str]:
        """Return the values of ``recursion=1``."""
        values = json.loads(body_of(guest.get("/1.0/config?recursion=1")))
        assert isinstance(values, dict)
        return values

    def value_of(self, guest: GuestConnection, key: str) -> tuple[int, str]:
        """Return the status and the body of the response for a config key."""
        response = guest.get(f"/1.0/config/{key}")
        return int(response.split()[1]), body_of(response).decode()


class SSHKeysTests(ConfigTestCase):
    """What guests of ``lxd6`` read if their container has SSH keys."""

    def check(self, config: Mapping[str, str], expected: Mapping[str, Any]) -> None:
        """Check that the list, the object and each value agree.

        :param expected: the users in each text, or the whole text.
        """
        guest = self.connect(config)
        self.assertEqual(self.keys_of(guest), sorted(expected))
        values = self.values_of(guest)
        for key in expected:
            self.assertEqual(self.value_of(guest, key), (200, values.pop(key)))
        self.assertEqual(values, {})
        for key, users in expected.items():
            text = self.values_of(guest)[key]
            found = text if isinstance(users, str) else yaml.safe_load(text)["users"]
            self.assertEqual(found, users)

    def test_nothing(self) -> None:
        """Without user-data and vendor-data, the guest finds both."""
        self.check(
            KEY, {"cloud-init.user-data": [ROOT], "cloud-init.vendor-data": [ROOT]}
        )

    def test_vendor_data(self) -> None:
        """The users of vendor-data are kept; there is no user-data to replace them."""
        self.check(KEY | VENDOR_DATA, {"cloud-init.vendor-data": ["a", ROOT]})
        guest = self.connect(KEY | VENDOR_DATA)
        for key in "cloud-init.user-data", "user.user-data", "user.vendor-data":
            self.assertEqual(self.value_of(guest, key), (404, "Not Found\n"))

    def test_user_names(self) -> None:
        """The texts under ``user.*`` are changed under their names."""
        config = {"user.user-data": HEAD + "x: 1", "user.a": "b", "limits.cpu": "2"}
        self.check(
            KEY | config,
            {
                "user.a": "b",
                "user.user-data": [ROOT],
                "cloud-init.vendor-data": [ROOT],
            },
        )

    def test_script(self) -> None:
        """What is not ``#cloud-config`` is sent as it is."""
        self.check(KEY | SCRIPT, {**SCRIPT, "cloud-init.vendor-data": [ROOT]})

    def test_hidden(self) -> None:
        """The keys are not listed, but can be read by their names."""
        guest = self.connect(KEY)
        self.assertNotIn("cloud-init.ssh-keys.mine", self.keys_of(guest))
        self.assertNotIn("cloud-init.ssh-keys.mine", self.values_of(guest))
        value = self.value_of(guest, "cloud-init.ssh-keys.mine")
        self.assertEqual(value, (200, "root:gh:me"))

    def test_encoded(self) -> None:
        """The path of a text may be percent-encoded."""
        guest = self.connect(KEY | SCRIPT)
        for path in "cloud-init%2Euser-data", "cloud%2Dinit.user-data":
            value = self.value_of(guest, path)
            self.assertEqual(value, (200, SCRIPT["cloud-init.user-data"]))

    def test_no_keys(self) -> None:
        """Without SSH keys every text is sent byte by byte."""
        for text in HEAD + "b: 0644 # x\na: yes", HEAD, "\t", "## template: jinja\n":
            config = {"cloud-init.user-data": text, "user.vendor-data": text}
            self.check(config, config)
        none = {"cloud-init.ssh-keys.mine": "none"}
        self.check(none | config, config)
        self.check(none, {})

    def test_other_dialects(self) -> None:
        """Other dialects add no keys; ``incus`` lists them as all others."""
        config = KEY | VENDOR_DATA | SCRIPT | {"user.vendor-data": HEAD}
        for dialect in INCUS, LXD:
            guest = self.connect(config, dialect)
            seen = {k: v for k, v in config.items() if dialect.exports(k)}
            self.assertEqual(self.values_of(guest), seen)
            self.assertEqual(self.keys_of(guest), sorted(seen))

    def test_change(self) -> None:
        """A changed document has its keys added anew."""
        guest = self.connect(KEY)
        self.keys_of(guest)
        self.store.put(Container("c1", VENDOR_DATA))
        self.assertEqual(self.keys_of(guest), list(VENDOR_DATA))
        self.assertEqual(self.values_of(guest), VENDOR_DATA)
        self.store.put(Container("c1", KEY | VENDOR_DATA))
        self.assertIn("gh:me", self.values_of(guest)["cloud-init.vendor-data"])

    def test_logged_once(self) -> None:
        """What keys cannot be added to is logged once for each version."""
        guest = self.connect(KEY | SCRIPT)
        line = (
            "SSH keys of container c1 cannot be added to cloud-init.user-data: "
            "not #cloud-config"
        )
        with capturedLogs() as logs:
            for _ in range(2):
                self.keys_of(guest)
                self.values_of(guest)
                self.value_of(guest, "cloud-init.user-data")
            self.assertEqual(lines_of(logs), [line])
            self.store.put(Container("c1", {**KEY, **SCRIPT, "user.a": "b"}))
            self.value_of(guest, "cloud-init.user-data")
            self.value_of(guest, "user.user-data")
        self.assertEqual(lines_of(logs), [line, line])

    def test_once(self) -> None:
        """Keys are added once for each version, whichever paths are requested."""
        calls = []

        def counted(config: Mapping[str, str]) -> Slices[MergedKeys]:
            calls.append(config)
            return merge_ssh_keys(config)

        self.patch(config_resources, "merge_ssh_keys", counted)
        guest = self.connect(KEY | VENDOR_DATA)
        for _ in range(3):
            self.keys_of(guest)
            self.values_of(guest)
            self.value_of(guest, "cloud-init.vendor-data")
            self.value_of(guest, "user.user-data")
        self.assertEqual(len(calls), 1)

    def test_turns(self) -> None:
        """Large texts are processed in turns; all who wait receive the result."""
        lines = "- echo\n" * 5000
        config = KEY | {"cloud-init.user-data": f"{HEAD}runcmd:\n{lines}"}
        self.connect(config)
        turns: deque[Callable[[], None]] = deque()
        self.patch(turns_of(self.site), "take", lambda _, work: turns.append(work))
        paths = ["/1.0/config", "/1.0/config?recursion=1"]
        paths += [f"/1.0/config/{key}" for key in sorted(config)[1:]] * 2
        guests = [GuestConnection(self.site) for _ in paths]
        bodies = [guest.get(path) for guest, path in zip(guests, paths, strict=True)]
        self.assertEqual(set(bodies), {b""})
        count = 0
        while turns:
            turns.popleft()()
            count += 1
        self.assertGreater(count, 50)
        received = [body_of(guest.receive()).decode() for guest in guests]
        self.assertIn("gh:me", received[1])
        self.assertEqual(received[2], json.loads(received[1])["cloud-init.user-data"])
        self.assertEqual(received[2], received[3])


class MetaDataTests(ConfigTestCase):
    """What guests receive as meta-data."""

    def meta_data_of(self, guest: GuestConnection) -> str:
        """Return the meta-data that the guest receives."""
        return body_of(guest.get("/1.0/meta-data")).decode()

    def test_merged(self) -> None:
        """The values of ``user.meta-data`` win in ``lxd6`` and ``incus``."""
        for dialect, head in (LXD6, ""), (INCUS, HEAD):
            for text in (
                "instance-id: x\na: b",
                "---\ninstance-id: y\ninstance-id: x\na: b\n",
                "{instance-id: x, a: b}",
            ):
                guest = self.connect({"user.meta-data": text}, dialect)
                received = self.meta_data_of(guest)
                self.assertTrue(received.startswith(head))
                self.assertEqual(received.count("instance-id"), 1)
                expected = {"instance-id": "x", "local-hostname": "c1", "a": "b"}
                self.assertEqual(yaml.safe_load(received), expected)

    def test_not_a_mapping(self) -> None:
        """Other text is appended as it is, and logged once for each version."""
        container = Container("c1", {"user.meta-data": "- secret"})
        ours = "instance-id: c1\nlocal-hostname: c1\n"
        line = "user.meta-data of container c1 is appended as it is: not a mapping"
        for dialect, head in (LXD6, ""), (INCUS, HEAD):
            guest = self.connect(container.config, dialect)
            with capturedLogs() as logs:
                for _ in range(3):
                    received = self.meta_data_of(guest)
                    self.assertEqual(received, f"{head}{ours}- secret")
                self.assertEqual(lines_of(logs), [line])
                self.store.put(evolve(container, hostname="other"))
                self.meta_data_of(guest)
                self.assertEqual(lines_of(logs), [line, line])

    def test_specified_dialects(self) -> None:
        """The specified dialects append every text, and log nothing."""
        for text in "instance-id: x", "- a", "{a: b}":
            guest = self.connect({"user.meta-data": text}, LXD)
            with capturedLogs() as logs:
                received = self.meta_data_of(guest)
            expected = f"{HEAD}instance-id: c1\nlocal-hostname: c1\n{text}"
            self.assertEqual((received, lines_of(logs)), (expected, []))

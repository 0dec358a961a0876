"""Tests that a real Incus and devlxd send the same responses and events."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from unittest import SkipTest

from tests.integration.comparisons import IMAGE_FIELDS, compare
from tests.integration.guest_programs import Barrier, python
from tests.integration.incus import Incus, missing_incus
from tests.integration.incus_requests import (
    CONFIG,
    event_streams,
    methods,
    missing_image,
    odd_requests,
    other_users,
    paths,
    public_image,
    refused_image,
    states,
    switched_off,
    switched_off_for_users,
)
from tests.integration.lxc import (
    INIT,
    UNTIL_READY,
    LXCContainer,
    make_home,
    unique_name,
)
from tests.integration.processes import ProcessTestCase, wait_until
from tests.integration.servers import DevLXD
from tests.integration.test_real_lxd import (
    MARK,
    SUBSCRIBE,
    Normalized,
    events_until,
)

#: Incus's socket and devlxd's in the container.
SOCKETS = ("/dev/incus/sock", "/dev/devlxd/sock")

#: The same, with a path that Incus does not remove when its API is switched off.
LASTING_SOCKETS = ("/dev/lasting/sock", "/dev/devlxd/sock")

#: Runs a command as a user who is not root.
AS_USER = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]

_DISK = ["disk", "source=/usr/share"]

#: How many random changes are made.
CHANGES = 200

#: A change: arguments of ``incus``, with ``NAME`` for the container, and the events
#: that only devlxd sends.
Change = tuple[list[str], Normalized]


class Changes:
    """Random changes of the configuration of a container and its profiles.

    Keys are unset with ``unset``. After ``set KEY=``, Incus reports an empty value,
    although from then on the guest reads the value of the profile, if there is one.
    """

    def __init__(self) -> None:
        self._random = random.Random(7)
        self._number = 0
        self._cloud_init = dict.fromkeys(("user-data", "network-config"), "")
        self._devices: dict[str, str] = {}
        self._own_keys: set[str] = set()
        self._profile_keys: set[tuple[str, str]] = set()
        self._has_profile = False

    def __iter__(self) -> Iterator[Change]:
        """Yield `CHANGES` changes."""
        kinds = [
            self._set_key,
            self._set_key,
            self._set_keys,
            self._unset_key,
            self._set_hidden,
            self._set_cloud_init,
            self._set_in_profile,
            self._unset_in_profile,
            self._switch_profile,
            self._add_device,
            self._add_device,
            self._change_device,
            self._remove_device,
            self._shadow_device,
        ]
        for self._number in range(CHANGES):
            self._only_ours: Normalized = Counter()
            command = self._random.choice(kinds)()
            yield command, self._only_ours

    def _key(self) -> str:
        return self._random.choice(("user.a", "user.a/b", "user.é", "user.p"))

    def _value(self) -> str:
        values = ['<a>&"é\\', "two\nlines", "1", "=", "x" * 5000, f"{self._number}"]
        return self._random.choice(values)

    def _set_key(self) -> list[str]:
        key = self._key()
        self._own_keys.add(key)
        return ["config", "set", "NAME", f"{key}={self._value()}"]

    def _set_keys(self) -> list[str]:
        pairs = [f"user.k{n}={self._value()}" for n in range(3)]
        return ["config", "set", "NAME", *pairs]

    def _unset_key(self) -> list[str]:
        if not self._own_keys:
            return self._set_key()
        key = self._random.choice(sorted(self._own_keys))
        self._own_keys.remove(key)
        return ["config", "unset", "NAME", key]

    def _set_hidden(self) -> list[str]:
        key = self._random.choice(("boot.autostart.priority", "limits.processes"))
        return ["config", "set", "NAME", f"{key}={self._number + 100}"]

    def _set_cloud_init(self) -> list[str]:
        key = self._random.choice(sorted(self._cloud_init))
        old = self._cloud_init[key]
        new = "" if old and self._random.random() < 0.3 else f"key: {self._number}"
        self._cloud_init[key] = new
        self._only_ours[("config", f"cloud-init.{key}", old, new)] = 1
        return ["config", "set", "NAME", f"cloud-init.{key}={new}"]

    def _set_in_profile(self) -> list[str]:
        profile, key = self._random.choice(("default", "extra")), self._key()
        self._profile_keys.add((profile, key))
        return ["profile", "set", profile, f"{key}={self._value()}"]

    def _unset_in_profile(self) -> list[str]:
        if not self._profile_keys:
            return self._set_in_profile()
        profile, key = self._random.choice(sorted(self._profile_keys))
        self._profile_keys.remove((profile, key))
        return ["profile", "unset", profile, key]

    def _switch_profile(self) -> list[str]:
        self._has_profile = not self._has_profile
        verb = "add" if self._has_profile else "remove"
        return ["profile", verb, "NAME", "extra"]

    def _add_device(self) -> list[str]:
        name = f"d{self._number}"
        kind = self._random.choice(("disk", "nic", "unix-char"))
        self._devices[name] = kind
        options = {
            "disk": ["source=/usr/share", f"path=/mnt/{name}"],
            "nic": ["nictype=p2p", f"name={name}"],
            "unix-char": ["source=/dev/null", f"path=/dev/{name}"],
        }
        return ["config", "device", "add", "NAME", name, kind, *options[kind]]

    def _change_device(self) -> list[str]:
        if not self._devices:
            return self._add_device()
        name = self._random.choice(sorted(self._devices))
        option = {
            "disk": f"path=/mnt/x{self._number}",
            "nic": f"mtu={1300 + self._number}",
            "unix-char": f"mode=0{self._random.choice((600, 644, 666))}",
        }
        value = option[self._devices[name]]
        return ["config", "device", "set", "NAME", name, value]

    def _remove_device(self) -> list[str]:
        if not self._devices:
            return self._add_device()
        name = self._random.choice(sorted(self._devices))
        del self._devices[name]
        return ["config", "device", "remove", "NAME", name]

    def _shadow_device(self) -> list[str]:
        """Add or remove a device with the name of the profile's."""
        if "more" in self._devices:
            del self._devices["more"]
            return ["config", "device", "remove", "NAME", "more"]
        self._devices["more"] = "disk"
        return ["config", "device", "add", "NAME", "more", *_DISK, "path=/mnt/own"]


class RealIncusTests(ProcessTestCase):
    """A real Incus, and a devlxd that reads the records of that Incus."""

    skip = missing_incus()

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        for name in ("sockets", "shared", "init"):
            (self.home / name).mkdir()
            (self.home / name).chmod(0o777)
        (self.home / "init" / "init.py").write_text(INIT)
        self.incus = Incus(self.home)
        self.incus.start()
        self.addCleanup(self.incus.stop)
        self.name = unique_name("incus")
        devlxd = DevLXD(
            f"--containers={self.incus.containers}",
            f"--listen=incus={self.home}/sockets",
            f"--images=lxd:unix:{self.incus.socket}",
        )
        self.addCleanup(devlxd.stop)
        binds = {
            self.home / "sockets": "dev/devlxd",
            self.home / "shared": "run/shared",
            self.home / "init": "run/init",
            self.incus.guest_api: "dev/lasting",
        }
        self.incus.start_container(self.name, binds)
        container = LXCContainer(self.name, self.home)
        self.run_in_guest = partial(container.run_at, self.home / "init")
        self.incus.incus("exec", self.name, "--", "sh", "-c", UNTIL_READY)

    def change(self, arguments: list[str]) -> None:
        """Run Incus's client, with the container's name for ``NAME``."""
        named = [self.name if word == "NAME" else word for word in arguments]
        self.incus.incus(*named)

    def test_events(self) -> None:
        """Incus and devlxd send equal events for 200 changes.

        These are the differences, see also `normalized`:

        * devlxd reports changes of ``cloud-init.*`` keys, which guests can read.
        * devlxd always reports a changed device as ``updated``.
        """
        self.change(["profile", "create", "extra"])
        device = ["profile", "device", "add", "extra", "more"]
        self.change([*device, *_DISK, "path=/mnt/more"])
        kinds: Counter[str] = Counter()
        with ThreadPoolExecutor() as pool, Barrier(self.home / "shared") as barrier:
            for path in SOCKETS:
                pool.submit(self.run_in_guest, *python(SUBSCRIBE, path, path))
            theirs, ours = (barrier.wait_for(path.encode())[0] for path in SOCKETS)
            try:
                for n, (change, only_ours) in enumerate(Changes()):
                    self.change(change)
                    self.change(["config", "set", "NAME", f"{MARK}={n}"])
                    got, expected = events_until(str(n), ours, theirs, only_ours)
                    self.assertEqual(got, expected, change)
                    kinds.update(kind for kind, *_ in got)
            finally:
                # Both programs end with the container.
                self.change(["stop", "-f", "NAME"])
        self.assertGreater(kinds["config"], 80, kinds)
        self.assertGreater(kinds["device"], 40, kinds)

    def test_responses(self) -> None:
        """Responses are those of Incus, except for the stated differences."""
        self.skip_older()
        pairs = [f"{key}={value}" for key, value in CONFIG.items()]
        self.incus.incus("config", "set", self.name, *pairs)
        device = ["config", "device", "add", self.name]
        self.incus.incus(*device, "eth0", "nic", "nictype=p2p", "name=eth0")
        self.incus.incus(*device, "usr", *_DISK, "path=/mnt/usr")
        found = []
        for cases in (paths, methods, states, event_streams, odd_requests):
            found += compare(self.run_in_guest, SOCKETS, cases())
        run_as_user = partial(self.run_in_guest, *AS_USER)
        found += compare(run_as_user, SOCKETS, other_users())
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def skip_older(self) -> None:
        """Skip the test with an Incus whose responses differ from the table's."""
        if self.incus.major_version() < 7:
            raise SkipTest("needs Incus 7 (Debian sid)")

    def set_key(self, key: str, value: str) -> None:
        """Set a config key of the container, and wait until devlxd has read it."""
        mark = f"{key}={value}"
        self.change(["config", "set", "NAME", mark, f"{MARK}={mark}"])
        curl = ["curl", "-s", "--unix-socket", SOCKETS[1]]
        url = f"http://incus/1.0/config/{MARK}"
        is_off = mark == "security.guestapi=false"
        expected = "not authorized\n" if is_off else mark
        wait_until(lambda: self.run_in_guest(*curl, url) == expected, mark)

    def test_switched_off(self) -> None:
        """security.guestapi=false has the same effect, but on all paths."""
        self.skip_older()
        self.set_key("security.guestapi", "false")
        found = compare(self.run_in_guest, LASTING_SOCKETS, switched_off())
        run_as_user = partial(self.run_in_guest, *AS_USER)
        found += compare(run_as_user, LASTING_SOCKETS, switched_off_for_users())
        self.assertEqual(found, [], "\n" + "\n".join(found))
        self.set_key("security.guestapi", "true")
        self.assertEqual(compare(self.run_in_guest, SOCKETS, odd_requests()), [])

    def test_images(self) -> None:
        """With security.guestapi.images, guests download the same public images."""
        self.skip_older()
        fingerprint = self.incus.publish_image()
        allowed = {"": False, "false": False, "true": True}
        for value, is_allowed in allowed.items():
            self.set_key("security.guestapi.images", value)
            cases = public_image if is_allowed else refused_image
            found = compare(
                self.run_in_guest, SOCKETS, cases(fingerprint), IMAGE_FIELDS
            )
            self.assertEqual(found, [], "\n" + "\n".join(found))
        found = compare(self.run_in_guest, SOCKETS, missing_image("0000"))
        self.assertEqual(found, [], "\n" + "\n".join(found))

"""Tests that a real Incus and devlxd send the same responses and events."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from functools import partial

from tests.integration.comparisons import Case, compare
from tests.integration.incus import Incus, missing_incus
from tests.integration.incus_requests import (
    CONFIG,
    event_streams,
    methods,
    odd_requests,
    other_users,
    paths,
    states,
)
from tests.integration.lxc import (
    INIT,
    UNTIL_READY,
    LXCContainer,
    make_home,
    unique_name,
)
from tests.integration.processes import ProcessTestCase
from tests.integration.servers import DevLXD

#: Incus's socket and devlxd's in the container.
SOCKETS = ("/dev/incus/sock", "/dev/devlxd/sock")

#: Runs a command as a user who is not root.
AS_USER = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]

_DISK = ["disk", "source=/usr/share"]


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
        )
        self.addCleanup(devlxd.stop)
        binds = {
            self.home / "sockets": "dev/devlxd",
            self.home / "shared": "run/shared",
            self.home / "init": "run/init",
            self.incus.guest_api: "dev/always",
        }
        self.incus.start_container(self.name, binds)
        container = LXCContainer(self.name, self.home)
        self.run_in_guest = partial(container.run_at, self.home / "init")
        self.incus.incus("exec", self.name, "--", "sh", "-c", UNTIL_READY)

    def check(self, cases: Iterable[Case]) -> None:
        """Send the requests as root; check that all responses are as stated."""
        found = compare(self.run_in_guest, SOCKETS, list(cases))
        self.assertEqual(found, [], "\n".join(found))

    def test_responses(self) -> None:
        """Responses are those of Incus, except for the stated differences."""
        pairs = [f"{key}={value}" for key, value in CONFIG.items()]
        self.incus.incus("config", "set", self.name, *pairs)
        device = ["config", "device", "add", self.name]
        self.incus.incus(*device, "eth0", "nic", "nictype=p2p", "name=eth0")
        self.incus.incus(*device, "usr", *_DISK, "path=/mnt/usr")
        found = []
        for cases in (paths, methods, states, event_streams, odd_requests):
            found += compare(self.run_in_guest, SOCKETS, list(cases()))
        run_as_user = partial(self.run_in_guest, *AS_USER)
        found += compare(run_as_user, SOCKETS, list(other_users()))
        self.assertEqual(found, [], "\n" + "\n".join(found))

"""Tests that devlxd responds to requests of every kind as a real LXD does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial

from tests.integration.comparisons import Case, compare
from tests.integration.lxc import (
    INIT,
    UNTIL_READY,
    LXCContainer,
    make_home,
    unique_name,
)
from tests.integration.lxd import LXD, missing_lxd
from tests.integration.lxd_cases import CONFIG, DEVICES, lxd_cases, user_cases
from tests.integration.processes import ProcessTestCase, wait_until
from tests.integration.servers import DevLXD


class LXDRequestsTests(ProcessTestCase):
    """A container of a real LXD, and a devlxd that reads the records of that LXD."""

    skip = missing_lxd()

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        self.init = self.home / "init"
        (self.home / "incus").mkdir()
        self.init.mkdir()
        self.init.chmod(0o777)
        (self.init / "init.py").write_text(INIT)
        self.lxd = LXD(self.home)
        self.lxd.start()
        self.addCleanup(self.lxd.stop)
        name = unique_name("requests")
        devlxd = DevLXD(
            f"--containers={self.lxd.containers}",
            f"--listen=incus={self.home}/incus",
            "--switch=security.devlxd",
        )
        self.addCleanup(devlxd.stop)
        self.lxd.start_container(
            name, {self.home / "incus": "dev/devlxd", self.init: "run/init"}
        )
        self.container = LXCContainer(name, self.home)
        self.lxd.lxc("exec", name, "--", "sh", "-c", UNTIL_READY)
        self.lxd.edit("config", name, CONFIG, DEVICES)
        curl = ["curl", "-s", "--unix-socket", "/dev/devlxd/sock"]
        command = [*curl, "http://lxd/1.0/config/user.foo"]
        wait_until(
            lambda: self.run_inside(*command) == CONFIG["user.foo"],
            "devlxd serves the config",
        )

    def run_inside(self, *command: str) -> str:
        """Run a command in the container."""
        return self.container.run_at(self.init, *command)

    def test_requests(self) -> None:
        """LXD and devlxd respond alike, or a reason is listed why ours is right."""
        self.check(self.run_inside, list(lxd_cases()))

    def test_not_root(self) -> None:
        """LXD and devlxd respond alike to users of the container other than root."""
        user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]
        self.check(partial(self.run_inside, *user), list(user_cases()))

    def check(self, run: Callable[..., str], cases: list[Case]) -> None:
        """Check the responses to the requests that ``run`` sends."""
        sockets = ("/dev/lxd/sock", "/dev/devlxd/sock")
        found = compare(run, sockets, cases)
        while self.lxd.has_ended():
            self.lxd.launch()
            found = compare(run, sockets, cases)
        self.assertFalse(found, "\n".join(found))

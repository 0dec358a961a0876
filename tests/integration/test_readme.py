"""What README and docs tell to type, typed, with real containers."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.integration.lxc import (
    INIT,
    TWISTD,
    LXCContainer,
    ServerProcess,
    make_home,
    missing_requirement,
    unique_name,
)
from tests.integration.lxd import LXD, missing_lxd
from tests.integration.processes import ProcessTestCase, run, wait_until
from tests.readme import OPERATING, README, blocks_of


class ReadmeTestCase(ProcessTestCase):
    """Types what is told to type, but in a directory of its own."""

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        self.name = unique_name("readme")
        (self.home / "containers").mkdir()
        # What a test must not touch, or calls otherwise.
        self.instead = {
            ".venv/bin": str(Path(sys.executable).parent),
            "/srv/containers": f"{self.home}/containers",
            "/run/devlxd": f"{self.home}/run",
            "/var/lib/devlxd": f"{self.home}/state",
            "c1": self.name,
        }

    def adapt(self, block: str) -> str:
        """Put the test's own paths and names into what is told to type."""
        for told, ours in self.instead.items():
            block = block.replace(told, ours)
        return block

    def run_block(self, block: str, environment: Mapping[str, str] = os.environ) -> str:
        """Run what ends; return what it printed."""
        return run("sh", "-euc", self.adapt(block), env=environment)

    def serve(self, block: str) -> None:
        """Start devlxd as the last command of a block says."""
        *before, command = self.adapt(block).replace("\\\n", "").splitlines()
        self.run_block("\n".join(before))
        if "--state" not in command:
            command += f" --state {self.home}/state"
        served = ServerProcess(*shlex.split(command))
        self.addCleanup(served.stop)


class LXCTests(ReadmeTestCase):
    """With LXC."""

    skip = missing_requirement()

    def setUp(self) -> None:
        super().setUp()
        self.documents, self.devlxd, self.guest = blocks_of(
            README, "Serve real containers"
        )
        self.container = LXCContainer(self.name, Path("/var/lib/lxc"))
        self.container.make()
        self.addCleanup(self.container.stop)

    def test_readme(self) -> None:
        """Whoever types what the README says is served."""
        self.run_block(self.documents)
        document = self.home / "containers" / f"{self.name}.yaml"
        self.assertEqual(document.stat().st_mode & 0o777, 0o600)
        self.serve(self.devlxd)
        self.assertEqual(self.run_block(self.guest), "bar")

    def test_without_root(self) -> None:
        """So is who does so without root, with documents of that user's."""
        self.run_block(self.documents)
        document = self.home / "containers" / f"{self.name}.yaml"
        shutil.chown(document, "nobody")
        # Python, and this checkout, may lie where nobody else may look.
        self.instead["+sys_ptrace"] = "+sys_ptrace,+dac_read_search"
        (without_root,) = blocks_of(OPERATING, "Without root")
        self.serve(without_root)
        self.assertEqual(self.run_block(self.guest), "bar")

    def test_agent(self) -> None:
        """The agent serves as well."""
        (agent,) = blocks_of(README, "Embed it")
        (self.home / "agent.tac").write_text(self.adapt(agent))
        served = ServerProcess(TWISTD, "--pidfile=", "-ny", f"{self.home}/agent.tac")
        self.addCleanup(served.stop)
        self.assertEqual(self.run_block(self.guest), "bar")


class LXDTests(ReadmeTestCase):
    """Beside an LXD."""

    skip = missing_lxd()

    def test_beside(self) -> None:
        """A guest of LXD's asks devlxd instead, until devlxd's switch is off."""
        init = self.home / "init"
        init.mkdir()
        init.chmod(0o777)
        (init / "init.py").write_text(INIT)
        lxd = LXD(self.home)
        lxd.start()
        self.addCleanup(lxd.stop)
        lxd.start_container(self.name, {init: "run/init"})
        lxd.lxc("config", "set", self.name, "user.foo=bar")
        self.instead["/var/lib/lxd"] = str(lxd.containers.parent)
        devlxd, guest = blocks_of(OPERATING, "Beside an LXD")
        self.serve(devlxd)
        environment = {**os.environ, "LXD_DIR": str(lxd.containers.parent)}
        self.run_block(guest, environment)
        curl = ["curl", "-s", "--unix-socket", "/dev/lxd/sock"]
        ask = ["exec", self.name, "--", *curl, "http://lxd/1.0/config/user.foo"]
        self.assertEqual(lxd.lxc(*ask), "bar")
        lxd.lxc("config", "set", self.name, "user.guest-api=false")
        wait_until(lambda: lxd.lxc(*ask) == "not authorized\n", "a refusal")

"""Tests that run the commands of README.rst and docs/ with real containers."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.integration.lxc import (
    INIT,
    LXCContainer,
    make_home,
    missing_requirement,
    unique_name,
)
from tests.integration.lxd import LXD, missing_lxd
from tests.integration.processes import TIMEOUT, ProcessTestCase, run, wait_until
from tests.integration.servers import TWISTD, ServerProcess
from tests.readme import CHECKOUT, OPERATING, README, blocks_of


class ReadmeTestCase(ProcessTestCase):
    """A base class that runs documented commands in a directory of its own."""

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        self.name = unique_name("readme")
        (self.home / "containers").mkdir()
        # Documented paths and names, and those of the test.
        self.replacements = {
            ".venv/bin": str(Path(sys.executable).parent),
            "/srv/containers": f"{self.home}/containers",
            "/run/devlxd": f"{self.home}/run",
            "/var/lib/devlxd": f"{self.home}/state",
            "c1": self.name,
        }

    def adapt(self, block: str) -> str:
        """Replace the documented paths and names by those of the test."""
        # At once: what replaces one name may contain another one.
        documented = sorted(self.replacements, key=len, reverse=True)
        pattern = "|".join(map(re.escape, documented))
        return re.sub(pattern, lambda match: self.replacements[match[0]], block)

    def run_block(self, block: str, environment: Mapping[str, str] = os.environ) -> str:
        """Run the commands of a block; return their stdout."""
        return run("sh", "-euc", self.adapt(block), env=environment)

    def serve(self, block: str, *options: str) -> None:
        """Run the commands of a block; the last one starts devlxd.

        :param options: further options of devlxd.
        """
        *before, command = self.adapt(block).replace("\\\n", "").splitlines()
        self.run_block("\n".join(before))
        if "--state" not in command:
            command += f" --state {self.home}/state"
        server = ServerProcess(*shlex.split(command), *options)
        self.addCleanup(server.stop)


class LXCTests(ReadmeTestCase):
    """The commands for LXC."""

    skip = missing_requirement()

    def setUp(self) -> None:
        super().setUp()
        self.documents, self.devlxd, self.guest = blocks_of(
            README, "Serve real containers"
        )
        self.container = LXCContainer(self.name, Path("/var/lib/lxc"))
        self.container.create()
        self.addCleanup(self.container.stop)

    def test_readme(self) -> None:
        """After the commands in the README, the guest receives its key."""
        self.run_block(self.documents)
        document = self.home / "containers" / f"{self.name}.yaml"
        self.assertEqual(document.stat().st_mode & 0o777, 0o600)
        self.serve(self.devlxd)
        self.assertEqual(self.run_block(self.guest), "bar")

    def test_ready(self) -> None:
        """After the command in the README, the guest is ready."""
        self.run_block(self.documents)
        self.serve(self.devlxd.replace("--listen ", "--listen lxd6="))
        self.run_block(self.guest)
        (ready,) = blocks_of(README, "Ready")
        self.container.attach("sh", "-euc", ready)
        curl = ["curl", "-s", "--unix-socket", "/dev/lxd/sock", "http://lxd/1.0"]
        self.assertIn('"state":"Ready"', self.container.attach(*curl))

    def test_without_root(self) -> None:
        """A devlxd without root serves the guest, with a document that it owns."""
        self.run_block(self.documents)
        document = self.home / "containers" / f"{self.name}.yaml"
        shutil.chown(document, "nobody")
        # The user nobody may be unable to read Python and this checkout.
        self.replacements["+sys_ptrace"] = "+sys_ptrace,+dac_read_search"
        (without_root,) = blocks_of(OPERATING, "Without root")
        self.serve(without_root)
        self.assertEqual(self.run_block(self.guest), "bar")

    def test_agent(self) -> None:
        """The agent in the README serves the guest."""
        (agent,) = blocks_of(README, "Embed it")
        (self.home / "agent.tac").write_text(self.adapt(agent))
        server = ServerProcess(TWISTD, "--pidfile=", "-ny", f"{self.home}/agent.tac")
        self.addCleanup(server.stop)
        self.assertEqual(self.run_block(self.guest), "bar")


class UnitTests(ReadmeTestCase):
    """The units for systemd."""

    if shutil.which("systemd-analyze") is None:
        skip = "needs systemd-analyze (Debian: apt-get install systemd)"

    def test_unit(self) -> None:
        """systemd has no complaint about the units."""
        self.replacements["/usr/lib/devlxd/bin/twistd"] = TWISTD
        units = [self.home / "devlxd.service", self.home / "devlxd.socket"]
        for unit in units:
            text = (CHECKOUT / "packaging" / "systemd" / unit.name).read_text()
            unit.write_text(self.adapt(text))
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *map(str, units)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))


class LXDTests(ReadmeTestCase):
    """The commands for a host with an LXD."""

    skip = missing_lxd()

    def test_beside_lxd(self) -> None:
        """devlxd serves a guest of LXD's until ``user.guest-api`` is false."""
        init = self.home / "init"
        init.mkdir()
        init.chmod(0o777)
        (init / "init.py").write_text(INIT)
        lxd = LXD(self.home)
        lxd.start()
        self.addCleanup(lxd.stop)
        lxd.start_container(self.name, {init: "run/init"})
        lxd.lxc("config", "set", self.name, "user.foo=bar")
        self.replacements["/var/lib/lxd"] = str(lxd.containers.parent)
        devlxd, guest = blocks_of(OPERATING, "Beside an LXD")
        self.serve(devlxd)
        environment = {**os.environ, "LXD_DIR": str(lxd.containers.parent)}
        self.run_block(guest, environment)
        curl = ["curl", "-s", "--unix-socket", "/dev/lxd/sock"]
        request = ["exec", self.name, "--", *curl, "http://lxd/1.0/config/user.foo"]
        self.assertEqual(lxd.lxc(*request), "bar")
        lxd.lxc("config", "set", self.name, "user.guest-api=false")
        wait_until(lambda: lxd.lxc(*request) == "not authorized\n", "a refusal")

"""Tests that cloud-init reads the same from devlxd as from a real LXD."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import yaml

from tests.integration.cloud_configs import CONFIGURATIONS, Configuration
from tests.integration.lxc import (
    INIT,
    UNTIL_READY,
    LXCContainer,
    make_home,
    unique_name,
)
from tests.integration.lxd import LXD, missing_lxd
from tests.integration.processes import GuestError, ProcessTestCase, wait_until
from tests.integration.servers import DevLXD
from tests.integration.test_cloud_init import PACKAGES, missing_cloud_init

#: Runs cloud-init's reader; prints its JSON, or the last line of its errors.
READ = """
cd /run/cloud-init
python3 -m cloudinit.sources.DataSourceLXD 2>/tmp/errors || tail -n1 /tmp/errors
"""

#: The same, with the socket of devlxd in the place of LXD's.
READ_DEVLXD = f"mount --bind /dev/devlxd /dev/lxd || exit 1\n{READ}"

#: The key whose value tells which configuration devlxd serves.
MARK = "user.mark"

#: The first line of the meta-data of LXD up to 6.2. LXD 6.3 left it out.
HEAD = "#cloud-config\n"


class CloudConfigTests(ProcessTestCase):
    """cloud-init's reader in a container of a real LXD."""

    skip = missing_lxd() or missing_cloud_init()

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        (self.home / "lxd6").mkdir()
        (self.home / "init").mkdir()
        (self.home / "init").chmod(0o777)
        (self.home / "init" / "init.py").write_text(INIT)
        shutil.copytree(Path(PACKAGES) / "cloudinit", self.home / "cloudinit")
        self.lxd = LXD(self.home)
        self.lxd.start()
        self.addCleanup(self.lxd.stop)
        self.name = unique_name("reader")
        devlxd = DevLXD(
            f"--containers={self.lxd.containers}", f"--listen=lxd6={self.home}/lxd6"
        )
        self.addCleanup(devlxd.stop)
        binds = {
            self.home / "lxd6": "dev/devlxd",
            self.home / "init": "run/init",
            self.home / "cloudinit": "run/cloud-init/cloudinit",
        }
        self.lxd.start_container(self.name, binds)
        self.container = LXCContainer(self.name, self.home)
        self.lxd.lxc("exec", self.name, "--", "sh", "-c", UNTIL_READY)

    def test_configurations(self) -> None:
        """cloud-init reads the same, or a reason is listed why ours is right."""
        differing = {}
        expected = {}
        for title, configuration in CONFIGURATIONS.items():
            self.configure(title, configuration)
            theirs = fields(self.read_lxd())
            ours = fields(self.read("unshare", "-m", "sh", "-c", READ_DEVLXD))
            for name in sorted(ours.keys() | theirs.keys()):
                got, other = ours.get(name), theirs.get(name)
                known = configuration.differences.get(name)
                if known is not None and (known.always or got != other):
                    expected[title, name] = known.ours
                if got != other:
                    differing[title, name] = got
        self.assertEqual(differing, expected)

    def test_ssh_keys(self) -> None:
        """LXD 5.0.2 refuses config keys for SSH keys: only devlxd serves them."""
        error = self.assertRaises(
            GuestError,
            *(self.lxd.lxc, "config", "set", self.name),
            "cloud-init.ssh-keys.web=root:ssh-ed25519 AAAA",
        )
        self.assertIn("Unknown configuration key", str(error))

    def configure(self, title: str, configuration: Configuration) -> None:
        """Configure the container, and wait until devlxd serves that."""
        mark = {MARK: title} if configuration.config else {}
        self.lxd.edit("profile", "default", configuration.profile, {})
        self.lxd.edit(
            "config", self.name, {**configuration.config, **mark}, configuration.devices
        )
        expected = f"{title}200" if mark else "Not Found\n404"
        curl = ["curl", "-s", "-w", "%{http_code}", "--unix-socket", "/dev/devlxd/sock"]
        command = [*curl, f"http://lxd/1.0/config/{MARK}"]
        wait_until(
            lambda: self.read(*command) == expected,
            f"devlxd serves {title}",
        )

    def read_lxd(self) -> str:
        """Run the reader with LXD's socket, again if LXD has crashed meanwhile."""
        printed = self.read("sh", "-c", READ)
        while self.lxd.has_ended():
            self.lxd.launch()
            printed = self.read("sh", "-c", READ)
        return printed

    def read(self, *command: str) -> str:
        """Run a command in the container; return its output."""
        return self.container.run_at(self.home / "init", *command)


def fields(printed: str) -> dict[str, object]:
    """Return what the reader has read, by names such as ``config: user.foo``.

    The meta-data is returned as cloud-init parses it, and as text if it has only
    the two lines that LXD and devlxd write themselves.
    """
    try:
        data = json.loads(printed)
    except ValueError:
        return {"error": printed}
    text = data["meta-data"].removeprefix(HEAD)
    found = {"meta-data: text": text} if text.count("\n") == 2 else {}
    data["meta-data"] = parsed(text)
    for name, value in data.items():
        if isinstance(value, dict):
            found |= {f"{name}: {key}": item for key, item in value.items()}
        else:
            found[name] = value
    return found


def parsed(text: str) -> object:
    """Return the value of a YAML text as cloud-init does: ``None`` if it has none."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None

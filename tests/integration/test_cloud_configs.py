"""Tests that cloud-init reads the same from devlxd as from a real LXD."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import yaml

from tests.integration.cloud_configs import (
    CONFIGURATIONS,
    INSTANCE_ID,
    NAME,
    Configuration,
)
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

#: The config key of an SSH key.
SSH_KEY = "cloud-init.ssh-keys.web"

#: Configurations to which an SSH key is added, and whether their user-data is a
#: cloud-config, which gets the key. All others are served as they are.
MERGED = {
    "nothing": True,
    "UTF-8": True,
    "comments and numbers": True,
    "vendor-data": True,
    "both kinds of keys": True,
    "jinja": False,
    "gzip in base64": False,
    "MIME": False,
    "include": False,
    "shell script": False,
}

#: The first line of the meta-data of LXD up to 6.2. LXD 6.3 left it out.
HEAD = "#cloud-config\n"


class CloudConfigTests(ProcessTestCase):
    """cloud-init's reader in a container of a real LXD."""

    maxDiff = None
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
            variables = {INSTANCE_ID: self.instance_id(), NAME: self.name}
            theirs = fields(self.read_lxd())
            ours = fields(self.read_devlxd())
            for name in sorted(ours.keys() | theirs.keys()):
                got, other = ours.get(name), theirs.get(name)
                known = configuration.differences.get(name)
                if known is not None and (known.always or got != other):
                    expected[title, name] = variables.get(known.ours, known.ours)
                if got != other:
                    differing[title, name] = got
        self.assertEqual(differing, expected)

    def test_ssh_keys(self) -> None:
        """cloud-init reads SSH keys in the user-data; LXD 5.0.2 does not know them."""
        command = ["config", "set", self.name, f"{SSH_KEY}=root:ssh-ed25519 AAAA"]
        error = self.assertRaises(GuestError, self.lxd.lxc, *command)
        self.assertIn("Unknown configuration key", str(error))
        users = [{"name": "root", "ssh_authorized_keys": ["ssh-ed25519 AAAA"]}]
        for title, is_merged in MERGED.items():
            self.configure(title, CONFIGURATIONS[title])
            before = fields(self.read_devlxd())
            self.add_ssh_key("root:ssh-ed25519 AAAA")
            after = fields(self.read_devlxd())
            self.assertNotIn(f"config: {SSH_KEY}", after)
            for name in ("user-data", "vendor-data"):
                if is_merged or name not in before:
                    data = mapping(before.get(name, "")) | {"users": users}
                    self.assertEqual(mapping(after[name]), data, (title, name))
                else:
                    self.assertEqual(after[name], before[name], (title, name))

    def add_ssh_key(self, value: str) -> None:
        """Add a config key to LXD's record, as LXD 6 does; wait until it is served."""
        path = self.lxd.containers / self.name / "backup.yaml"
        text = re.sub(
            r"^  (expanded_)?config:\n",
            rf"\g<0>    {SSH_KEY}: {value}\n",
            path.read_text(),
            flags=re.MULTILINE,
        )
        new = self.home / "backup.yaml"
        new.write_text(text)
        new.rename(path)
        self.wait_for(SSH_KEY, value)

    def configure(self, title: str, configuration: Configuration) -> None:
        """Configure the container, and wait until devlxd serves that."""
        mark = {MARK: title} if configuration.config else {}
        self.lxd.edit("profile", "default", configuration.profile, {})
        self.lxd.edit(
            "config", self.name, {**configuration.config, **mark}, configuration.devices
        )
        self.wait_for(MARK, mark.get(MARK))

    def wait_for(self, key: str, value: str | None) -> None:
        """Wait until devlxd serves a value of a config key; ``None``: it has none."""
        expected = "Not Found\n404" if value is None else f"{value}200"
        curl = ["curl", "-s", "-w", "%{http_code}", "--unix-socket", "/dev/devlxd/sock"]
        command = [*curl, f"http://lxd/1.0/config/{key}"]
        wait_until(lambda: self.read(*command) == expected, f"devlxd serves {key}")

    def read_devlxd(self) -> str:
        """Run the reader with devlxd's socket."""
        return self.read("unshare", "-m", "sh", "-c", READ_DEVLXD)

    def instance_id(self) -> str:
        """Return the instance-id that LXD has given the container."""
        return self.lxd.lxc("config", "get", self.name, INSTANCE_ID).strip()

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

    The meta-data is returned as cloud-init parses it, and also as text if the
    operator has configured none.
    """
    try:
        data = json.loads(printed)
    except ValueError:
        return {"error": printed}
    text = data["meta-data"].removeprefix(HEAD)
    found = {} if "user.meta-data" in data["config"] else {"meta-data: text": text}
    data["meta-data"] = parsed(text)
    for name, value in data.items():
        if isinstance(value, dict):
            found |= {f"{name}: {key}": item for key, item in value.items()}
        else:
            found[name] = value
    return found


def mapping(text: object) -> dict[str, object]:
    """Return the mapping that a YAML text contains; none is an empty one."""
    return yaml.safe_load(str(text)) or {}


def parsed(text: str) -> object:
    """Return the value of a YAML text as cloud-init does: ``None`` if it has none."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None

"""Tests that a stock Debian with systemd and cloud-init boots with devlxd."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from tests.integration import observing_agent
from tests.integration.cloud_guest import CloudGuest, missing_requirement
from tests.integration.lxc import make_home, unique_name
from tests.integration.processes import ProcessTestCase, wait_until
from tests.integration.servers import ServerProcess

#: SSH keys: two in user-data, and one of the operator.
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIhz2GK/XCUj4i6Q5yQJNL1MKMNu4i0r3bQxAAAAAAAA"
OTHER_KEY = KEY.replace("Qx", "Qy")
THIRD_KEY = KEY.replace("Qx", "Qz")

#: Sets up the guest. What runs for each instance and for each boot writes a line.
USER_DATA = f"""\
#cloud-config
bootcmd:
- echo bootcmd >>/root/ran
write_files:
- path: /etc/motd
  content: "größer: 100 %\\n"
runcmd:
- echo runcmd >>/root/ran
users:
- default
- name: ada
  ssh_authorized_keys: ["{OTHER_KEY} ada"]
ssh_authorized_keys: ["{KEY} debian"]
"""

#: Another part of the configuration, from the operator of the cloud: a script.
VENDOR_DATA = "#!/bin/sh\necho vendor-data >>/root/ran\n"

NETWORK_CONFIG = """\
version: 2
ethernets:
  eth0:
    addresses: [192.0.2.7/24]
"""

#: What the first boot of an instance writes to /root/ran, and each later one.
FIRST_BOOT = ["bootcmd", "vendor-data", "runcmd"]
LATER_BOOT = ["bootcmd"]

#: A unit that makes the guest ready at each boot.
READY_UNIT = """\
[Unit]
Description=Tell the host that the guest is ready
After=cloud-config.service

[Service]
Type=oneshot
ExecStart=/usr/bin/curl --fail --silent --show-error --unix-socket /dev/lxd/sock \\
    --request PATCH --data '{"state": "Ready"}' http://lxd/1.0

[Install]
WantedBy=multi-user.target
"""

#: A request in the log of cloud-init.
_REQUEST = re.compile(r"\[GET\] \[HTTP:(\d+)\] http://lxd(\S+)")


def cloud_config(prefix: str) -> dict[str, str]:
    """Return a configuration with keys that begin with ``prefix``."""
    return {
        f"{prefix}user-data": USER_DATA,
        f"{prefix}vendor-data": VENDOR_DATA,
        f"{prefix}network-config": NETWORK_CONFIG,
        "volatile.cloud-init.instance-id": "first",
    }


def requests_for(prefix: str) -> list[tuple[str, int]]:
    """Return the requests of a first boot with `cloud_config`, with their codes."""
    keys = ["network-config", "user-data", "vendor-data"]
    paths = [
        "/1.0/meta-data",
        "/1.0/config",
        *(f"/1.0/config/{prefix}{key}" for key in keys),
        "/1.0/devices",
    ]
    return [(path, 200) for path in paths]


class ObservingAgent(ServerProcess):
    """An `observing_agent`; it listens when the constructor returns.

    :param dialect: the name of the dialect.
    :param containers: the directory of the containers' documents.
    :param sockets: the directory of the socket.
    """

    def __init__(self, dialect: str, containers: Path, sockets: Path) -> None:
        arguments = [dialect, str(containers), str(sockets)]
        super().__init__(sys.executable, observing_agent.__file__, *arguments)

    def notifications(self, kind: str) -> list[list[str | int | None]]:
        """Return the arguments of all notifications of one kind.

        :param kind: the name of the observer's method.
        """
        self.log.extend(self._output.lines())
        found = [json.loads(line) for line in self.log if line.startswith('["')]
        return [arguments for name, *arguments in found if name == kind]


class CloudBootTestCase(ProcessTestCase):
    """A base class of tests with a guest that boots."""

    skip = missing_requirement()

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        for name in ("containers", "sockets"):
            (self.home / name).mkdir()
        self.name = unique_name("boot")
        self.guest = CloudGuest(self.name, self.home / "guests", self.home / "sockets")

    def configure(self, config: dict[str, str]) -> None:
        """Write the document of the guest."""
        document = {"name": "web7", "config": config}
        temporary = self.home / "document"
        temporary.write_text(json.dumps(document))
        temporary.rename(self.home / "containers" / f"{self.name}.json")

    def reconfigure(self, config: dict[str, str]) -> None:
        """Change the document of the guest, and wait until devlxd has read it."""
        before = self.agent.notifications("changed")
        self.configure(config)
        wait_until(lambda: self.agent.notifications("changed") != before, "a change")

    def boot(self, dialect: str, config: dict[str, str]) -> None:
        """Serve a dialect, boot the guest, and check that cloud-init is content."""
        self.configure(config)
        containers = self.home / "containers"
        self.agent = ObservingAgent(dialect, containers, self.home / "sockets")
        self.addCleanup(self.agent.stop)
        self.guest.start()
        self.addCleanup(self.guest.stop)
        self.check_done()

    def check_done(self) -> None:
        """Wait for cloud-init; check its status, its log and that of devlxd."""
        status = self.guest.wait()
        expected: dict[str, Any] = {
            "status": "done",
            "extended_status": "done",
            "datasource": "lxd",
            "detail": "DataSourceLXD",
            "errors": [],
            "recoverable_errors": {},
        }
        self.assertEqual({name: status[name] for name in expected}, expected)
        log = self.guest.read("/var/log/cloud-init.log")
        levels = ("[WARNING]", "[ERROR]", "[CRITICAL]", "Traceback")
        complaints = [
            line for line in log.splitlines() if any(level in line for level in levels)
        ]
        self.assertEqual(complaints, [])
        # No request has been lost or repeated.
        received = [(path, int(code)) for code, path in _REQUEST.findall(log)]
        self.assertEqual(received, self.requests())
        self.assertEqual(self.agent.notifications("refused"), [])

    def requests(self) -> list[tuple[str, int]]:
        """Return the paths and codes of all requests of cloud-init so far."""
        asked = self.agent.notifications("asked")
        return [
            (str(path), int(code or 0)) for _, path, code in asked if path != "/1.0"
        ]

    def ran(self) -> list[str]:
        """Return what has run since the last call."""
        return self.guest.run(
            *("sh", "-c", "touch /root/ran; cat /root/ran; rm /root/ran")
        ).split()


class FirstBootTests(CloudBootTestCase):
    """The first boot of an instance."""

    def check_configured(self) -> None:
        """Check that the guest is what its configuration says."""
        self.assertEqual(self.guest.run("hostname"), "web7\n")
        self.assertEqual(self.guest.read("/etc/motd"), "größer: 100 %\n")
        self.assertEqual(self.ran(), FIRST_BOOT)
        self.assertEqual(self.keys_of("ada"), [OTHER_KEY])
        self.assertEqual(self.keys_of("debian"), [KEY])
        addresses = json.loads(self.guest.run("ip", "-json", "address", "show", "eth0"))
        (address,) = [
            address["local"]
            for address in addresses[0]["addr_info"]
            if address["family"] == "inet"
        ]
        self.assertEqual(address, "192.0.2.7")
        # Nothing in the guest has failed.
        state = self.guest.run("systemctl", "is-system-running", "--wait")
        self.assertEqual(state, "running\n")

    def keys_of(self, user: str) -> list[str]:
        """Return the SSH keys that may log in as a user, without their comments."""
        home = self.guest.run("sh", "-c", f"echo ~{user}").strip()
        lines = self.guest.read(f"{home}/.ssh/authorized_keys").splitlines()
        return sorted(" ".join(line.split()[:2]) for line in lines)

    def test_specified_dialect(self) -> None:
        """cloud-init sets up a guest with the dialect ``lxd`` and ``user.*`` keys."""
        self.boot("lxd", cloud_config("user."))
        self.check_configured()
        self.assertEqual(self.requests(), requests_for("user."))

    def test_user_keys(self) -> None:
        """cloud-init sets up a guest with ``lxd6`` and ``user.*`` keys."""
        self.boot("lxd6", cloud_config("user."))
        self.check_configured()
        self.assertEqual(self.requests(), requests_for("user."))

    def test_cloud_init_keys(self) -> None:
        """cloud-init sets up a guest with ``lxd6`` and ``cloud-init.*`` keys."""
        self.boot("lxd6", cloud_config("cloud-init."))
        self.check_configured()
        self.assertEqual(self.requests(), requests_for("cloud-init."))

    def test_incus(self) -> None:
        """cloud-init sets up a guest with ``incus``, which it reads at ``/dev/lxd``."""
        self.boot("incus", cloud_config("cloud-init."))
        self.check_configured()
        self.assertEqual(self.requests(), requests_for("cloud-init."))

    def test_ssh_keys(self) -> None:
        """The operator's SSH keys are added to those of user-data."""
        keys = {
            f"cloud-init.ssh-keys.of-{user}": f"{user}:{THIRD_KEY}"
            for user in ("ada", "debian", "bob")
        }
        self.boot("lxd6", cloud_config("cloud-init.") | keys)
        self.assertEqual(self.keys_of("ada"), [OTHER_KEY, THIRD_KEY])
        self.assertEqual(self.keys_of("debian"), [KEY, THIRD_KEY])
        self.assertEqual(self.keys_of("bob"), [THIRD_KEY])
        # There is nothing else to read than without these keys.
        self.assertEqual(self.requests(), requests_for("cloud-init."))

    def test_only_ssh_keys(self) -> None:
        """SSH keys need no user-data: a guest gets one that consists of them."""
        config = {
            "cloud-init.ssh-keys.ours": f"debian:{KEY}",
            "cloud-init.network-config": NETWORK_CONFIG,
        }
        self.boot("lxd6", config)
        self.assertEqual(self.keys_of("debian"), [KEY])


class RebootTests(CloudBootTestCase):
    """Later boots."""

    def test_instance_id(self) -> None:
        """A guest is set up again when it boots with another instance-id only."""
        config = cloud_config("cloud-init.")
        self.boot("lxd6", config)
        first = requests_for("cloud-init.")
        self.assertEqual(self.requests(), first)
        self.assertEqual(self.ran(), FIRST_BOOT)

        self.guest.reboot()
        self.check_done()
        self.assertEqual(self.requests(), [*first, ("/1.0/meta-data", 200)])
        self.assertEqual(self.ran(), LATER_BOOT)

        self.reconfigure(config | {"volatile.cloud-init.instance-id": "second"})
        self.guest.reboot()
        self.check_done()
        self.assertEqual(self.ran(), FIRST_BOOT)
        again = [("/1.0/meta-data", 200), *first]
        self.assertEqual(self.requests(), [*first, ("/1.0/meta-data", 200), *again])


class ClientTests(CloudBootTestCase):
    """The other clients in a guest."""

    def test_ready(self) -> None:
        """A unit of the guest tells the host at each boot that the guest is ready."""
        unit = "/etc/systemd/system/ready.service"
        files = [{"path": unit, "content": READY_UNIT}]
        start = [
            ["systemctl", "daemon-reload"],
            ["systemctl", "enable", "--now", "ready"],
        ]
        user_data = "#cloud-config\n" + json.dumps(
            {"write_files": files, "runcmd": start}
        )
        config = cloud_config("cloud-init.") | {"cloud-init.user-data": user_data}
        self.boot("lxd6", config)
        states = [[self.name, "Ready"]]
        self.assertEqual(self.agent.notifications("state_changed"), states)
        self.guest.reboot()
        self.check_done()
        # The reboot has ended the run that was ready.
        states += [[self.name, "Started"], [self.name, "Ready"]]
        wait_until(
            lambda: self.agent.notifications("state_changed") == states,
            "the guest is ready again",
        )

    def test_ubuntu_pro(self) -> None:
        """A guest that asks for Ubuntu Pro reads that the host does not offer it."""
        self.boot("lxd6", cloud_config("cloud-init."))
        response = self.guest.run(
            *("curl", "--silent", "--unix-socket", "/dev/lxd/sock"),
            *("--write-out", " %{http_code}", "http://lxd/1.0/ubuntu-pro"),
        )
        self.assertEqual(response, "Not Found\n 404")

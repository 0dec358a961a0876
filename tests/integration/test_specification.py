"""Tests of the published API, served to real containers by ``twistd devlxd``."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess

from tests.integration.lxc import (
    LXCContainer,
    make_home,
    missing_requirement,
    unique_name,
)
from tests.integration.processes import TIMEOUT, ProcessTestCase, run
from tests.integration.servers import TWISTD, DevLXD
from tests.peers.test_id_maps import CURRENT, id_map_value

#: The paths that LXD's published specification (its dev-lxd document) and apollo
#: have in common, and the bodies of the responses. ``{name}`` is the container's
#: name.
PATHS = {
    "/": '["/1.0"]\n',
    "/1.0": '{"api_version":"1.0"}\n',
    "/1.0/config": '["/1.0/config/user.a","/1.0/config/user.name"]\n',
    "/1.0/config/user.a": "b",
    "/1.0/config/user.name": "{name}",
    "/1.0/meta-data": "#cloud-config\ninstance-id: id-{name}\nlocal-hostname: {name}\n",
}

#: The paths that only LXD has, and the bodies of the responses.
LXD_PATHS = {
    "/1.0/devices": '["/1.0/device/eth-{name}"]\n',
    "/1.0/device/eth-{name}": '{"nictype":"ipvlan","type":"nic"}\n',
}


def curl(socket: str, path: str) -> list[str]:
    """Return the command that prints the response for ``path`` and its status."""
    flags = ["-s", "-w", "%{http_code}", "--path-as-is", "--unix-socket", socket]
    return ["curl", *flags, f"http://lxd{path}"]


class SpecificationTests(ProcessTestCase):
    """Two unprivileged containers with different id maps, and a privileged one."""

    skip = missing_requirement()

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        for name in ("documents", "lxd", "apollo"):
            (self.home / name).mkdir()
        self.binds = {self.home / "lxd": "dev/lxd", self.home / "apollo": "dev/apollo"}
        self.containers = [
            LXCContainer(unique_name("a"), self.home, 100_000, self.binds),
            LXCContainer(unique_name("b"), self.home, 300_000, self.binds),
            LXCContainer(unique_name("p"), self.home, 0, self.binds),
        ]
        for container in self.containers:
            document = self.home / "documents" / f"{container.name}.json"
            document.write_text(json.dumps(self.document_of(container)))
        devlxd = DevLXD(
            f"--containers={self.home}/documents",
            f"--listen=lxd={self.home}/lxd",
            f"--listen=apollo=unix:{self.home}/apollo/sock:mode=666",
        )
        self.addCleanup(devlxd.stop)
        for container in self.containers:
            self.start(container)

    def start(self, container: LXCContainer) -> None:
        """Start ``container``, and stop it when the test ends."""
        container.start()
        self.addCleanup(container.stop)

    @staticmethod
    def document_of(container: LXCContainer) -> dict[str, object]:
        """Return the document of ``container``."""
        config = {
            "user.name": container.name,
            "user.a": "b",
            "limits.cpu": "2",
            "volatile.cloud-init.instance-id": f"id-{container.name}",
        }
        if container.host_id:
            config[CURRENT] = id_map_value(container.host_id)
        nic = {"type": "nic", "nictype": "ipvlan"}
        return {"config": config, "devices": {f"eth-{container.name}": nic}}

    def test_own_data(self) -> None:
        """Children of the init, and of lxc-attach, read their container's own data."""
        for container in self.containers:
            for run_inside in (container.run, container.attach):
                for name, paths in (("lxd", {**PATHS, **LXD_PATHS}), ("apollo", PATHS)):
                    for path, body in paths.items():
                        own = path.replace("{name}", container.name)
                        self.assertEqual(
                            run_inside(*curl(f"/dev/{name}/sock", own)),
                            body.replace("{name}", container.name) + "200",
                            (container.name, name, own),
                        )

    def test_other_containers_data(self) -> None:
        """Data of other containers and keys that are not exported are refused."""
        other = self.containers[1].name
        for container in self.containers[::2]:
            for path, code in (
                (f"/1.0/device/eth-{other}", "404"),
                ("/1.0/config/limits.cpu", "403"),
                (f"/1.0/config/{CURRENT}", "403"),
                (f"/{other}/1.0/config", "404"),
                (f"/../{other}/1.0/config", "404"),
            ):
                response = container.run(*curl("/dev/lxd/sock", path))
                self.assertEqual(response[-3:], code, path)

    def test_not_root(self) -> None:
        """A user of the container other than root is refused."""
        user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]
        for container in self.containers:
            for run_inside in (container.run, container.attach):
                for name in ("lxd", "apollo"):
                    response = run_inside(*user, *curl(f"/dev/{name}/sock", "/1.0"))
                    self.assertEqual(response, "Access denied for non-root user\n401")

    def test_host(self) -> None:
        """A process of the host is refused, as it is in no container."""
        response = run(*curl(f"{self.home}/lxd/sock", "/1.0"))
        self.assertEqual(response, "not in a container\n500")

    def test_unknown_container(self) -> None:
        """A container without a document is refused like a process of the host."""
        unknown = LXCContainer(unique_name("x"), self.home, 500_000, self.binds)
        self.start(unknown)
        response = unknown.run(*curl("/dev/lxd/sock", "/1.0"))
        self.assertEqual(response, "not in a container\n500")


class ProcessTests(ProcessTestCase):
    """The socket of a ``twistd devlxd`` from its start to its end."""

    skip = missing_requirement()

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        (self.home / "documents").mkdir()
        self.socket = self.home / "sock"
        self.state = f"--state={self.home}/state"
        self.arguments = [
            f"--containers={self.home}/documents",
            f"--listen={self.socket}",
        ]

    def test_sigterm(self) -> None:
        """SIGTERM closes the connections and removes the socket."""
        devlxd = DevLXD(*self.arguments)
        with socket.socket(socket.AF_UNIX) as guest:
            guest.connect(str(self.socket))
            guest.settimeout(TIMEOUT)
            guest.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            response = b""
            while not response.endswith(b"not in a container\n"):
                response += (data := guest.recv(1000))
                self.assertTrue(data, response)
            self.assertEqual(devlxd.stop(), -signal.SIGTERM)
            self.assertEqual(guest.recv(1), b"")
        self.assertEqual(os.listdir(self.home), ["documents"])

    def test_takeover(self) -> None:
        """The socket of a killed devlxd is replaced, that of a running one is not."""
        killed = DevLXD(*self.arguments)
        killed.stop(signal.SIGKILL)
        self.assertTrue(self.socket.is_socket())
        devlxd = DevLXD(*self.arguments)
        self.addCleanup(devlxd.stop)
        second = subprocess.run(
            [TWISTD, "-n", "--pidfile=", "devlxd", self.state, *self.arguments],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        self.assertEqual(second.returncode, 1)
        self.assertEqual(
            second.stderr,
            f"devlxd: --listen: {self.socket}: another devlxd (pid {devlxd.pid}) "
            f"serves {self.socket}\n",
        )
        response = run(*curl(str(self.socket), "/1.0"))
        self.assertEqual(response, "not in a container\n500")

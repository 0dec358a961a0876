"""Containers for the clients of benchmarks, and the clients in them."""

from __future__ import annotations

import json
import select
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from benchmarks import clients
from benchmarks.machine import python_of_containers
from benchmarks.soaking.containers import unified_hierarchy
from tests.integration.lxc import unique_name
from tests.integration.lxd import LXD
from tests.integration.processes import TIMEOUT, GuestError, wait_until

#: Starts a command as the init of a pid namespace, in a cgroup.
_UNSHARE = (
    'echo $$ >"$1/cgroup.procs" && shift && exec unshare --pid --fork --kill-child "$@"'
)

#: Where the directory of the clients is mounted in containers of LXD.
_MOUNTED = "run/benchmarks"

#: How often something is measured at most, if LXD crashes.
TRIALS = 4

T = TypeVar("T")

#: The configuration of each container that a client reads.
CONFIG = {
    "cloud-init.network-config": "version: 2\nethernets: {eth0: {dhcp4: true}}\n",
    "cloud-init.user-data": "#cloud-config\npackages: [curl]\n",
    "cloud-init.vendor-data": "#cloud-config\nruncmd: [date]\n",
    "user.foo": "bar",
}


class Place(Protocol):
    """A container in which commands run."""

    def command(self, *words: str) -> list[str]:
        """Return the command of the host that runs a command in the container."""

    def program(self) -> str:
        """Return the path of the program of the clients in the container."""


class SimulatedPlace:
    """A container that is made of what devlxd looks at: a pid namespace and a cgroup.

    Each command is the init of the container, which ends with it: one at a time.

    :param name: the name of the container.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        scope = f"machine-{name}.scope"
        self._cgroup = unified_hierarchy() / "machine.slice" / scope
        self._cgroup.mkdir(parents=True, exist_ok=True)

    def command(self, *words: str) -> list[str]:
        """See `Place.command`."""
        return ["sh", "-c", _UNSHARE, "-", str(self._cgroup), *words]

    def program(self) -> str:
        """See `Place.program`."""
        return clients.__file__

    def remove(self) -> None:
        """Remove the cgroup, when the processes in it have ended."""
        wait_until(self._is_removed, f"{self._cgroup} is empty")

    def _is_removed(self) -> bool:
        with suppress(OSError):
            self._cgroup.rmdir()
        return not self._cgroup.exists()


class LXDPlace:
    """A container of an LXD.

    :param name: the name of the container.
    :param directory: the directory of the LXD.
    """

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self._directory = directory

    def command(self, *words: str) -> list[str]:
        """See `Place.command`."""
        lxc = ["env", f"LXD_DIR={self._directory}", "lxc", "exec", self.name, "--"]
        return [*lxc, *words]

    def program(self) -> str:
        """See `Place.program`."""
        return f"/{_MOUNTED}/{Path(clients.__file__).name}"


class Client:
    """A function of `benchmarks.clients` that runs in a container.

    It is closed when the ``with`` block ends.
    """

    def __init__(self, place: Place, function: str, **arguments: object) -> None:
        words = (place.program(), function, json.dumps(arguments))
        self._process = subprocess.Popen(
            place.command(python_of_containers(), *words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Client:
        """Do nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the function end, and wait for it."""
        self.close()

    def receive(self) -> Any:  # noqa: ANN401 # whatever the function yields
        """Return the next value of the function.

        :raises GuestError: if it has ended instead.
        """
        assert self._process.stdout is not None
        # It prints one line at a time, and none before it goes on.
        line = ""
        if select.select([self._process.stdout], [], [], TIMEOUT)[0]:
            line = self._process.stdout.readline()
        if not line:
            self._process.kill()
            _, errors = self._process.communicate()
            raise GuestError(f"a client has failed: {errors[-500:]}")
        return json.loads(line)

    def go_on(self) -> None:
        """Let the function go on after its last value."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """Let the function end, and wait for it."""
        if self._process.poll() is None:
            self._process.communicate(timeout=60)


def results(place: Place, function: str, **arguments: object) -> Any:  # noqa: ANN401
    """Run a function that is ready, and then yields one value; return the value."""
    with Client(place, function, **arguments) as client:
        client.receive()
        client.go_on()
        return client.receive()


class LXDHost:
    """An LXD with running containers, which also find the sockets of devlxd.

    :param sockets: directories with sockets, and their names in ``/dev``.
    :ivar places: its containers.
    :ivar crashes: how often the daemon has crashed.
    """

    def __init__(self, home: Path, sockets: Mapping[str, Path], count: int) -> None:
        self.lxd = LXD(home)
        self.places: list[LXDPlace] = []
        self.crashes = 0
        self._sockets = sockets
        self._count = count
        self.directory = self.lxd.socket.parent

    def start(self) -> None:
        """Start the daemon and the containers."""
        self.lxd.start()
        binds = {path: f"dev/{name}" for name, path in self._sockets.items()}
        binds[Path(clients.__file__).parent] = _MOUNTED
        for number in range(self._count):
            name = unique_name(f"b{number}")
            self.lxd.start_container(name, binds, init="/usr/bin/sleep infinity")
            pairs = [f"{key}={value}" for key, value in CONFIG.items()]
            self.lxd.lxc("config", "set", name, *pairs)
            self.places.append(LXDPlace(name, self.directory))

    def try_again(self, measure: Callable[[], T]) -> T:
        """Measure again, some times, if the daemon has crashed meanwhile.

        :raises GuestError: if it crashes each time.
        """
        for _ in range(TRIALS - 1):
            try:
                return measure()
            except (GuestError, SystemExit):
                if not self._is_revived():
                    raise
        return measure()

    def _is_revived(self) -> bool:
        """Start the daemon again if it has crashed; return whether it had."""
        # The client may notice it first.
        time.sleep(1)
        if not self.lxd.has_ended():
            return False
        self.crashes += 1
        self.lxd.launch()
        return True

    def stop(self) -> None:
        """Stop the containers and the daemon."""
        self._is_revived()
        self.lxd.stop()

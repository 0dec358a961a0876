"""A real Incus with real containers, for comparisons with devlxd.

Debian 12 has no Incus. The daemon therefore runs with the programs of a newer Debian
in a mount namespace of its own: a root file system, which mmdebstrap makes once for
all runs of the tests, is mounted over the host's ``/usr`` and ``/etc``. Processes,
cgroups (version 2 only) and all other directories are the host's. The daemon has no
network.
"""

from __future__ import annotations

import contextlib
import json
import os
from functools import partial
from pathlib import Path

from tests.integration.host_image import ROOT_DISK, write_image
from tests.integration.lxc import HOST_DIRECTORIES, missing_requirement
from tests.integration.processes import (
    TIMEOUT,
    GuestError,
    Output,
    run,
    start,
    wait_until,
)
from tests.integration.root_file_systems import (
    REQUIRED_PROGRAMS,
    cached_root,
    install,
)

#: The releases of Debian whose Incus is tried, in this order.
SUITES = ["sid", "trixie"]

#: Replaces the programs of the host and becomes the daemon. Its arguments are the
#: root file system, the directory for the host's programs, and the daemon's command.
_ENTER = """
root=$1 host=$2
shift 2
for directory in usr etc; do
    mount --bind "/$directory" "$host/$directory"
    mount --bind "$root/$directory" "/$directory"
done
mount -t tmpfs -o mode=755 tmpfs /run
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec "$@"
"""


def missing_incus() -> str | None:
    """Return what this host lacks to run Incus, or ``None``."""
    return missing_requirement({**REQUIRED_PROGRAMS, "nsenter": "util-linux"})


def incus_root() -> Path:
    """Return a root file system with Incus; build it if there is none.

    :raises GuestError: if it cannot be built.
    """
    errors = []
    for suite in SUITES:
        try:
            return cached_root(f"incus-{suite}", partial(_build, suite))
        except GuestError as error:
            errors.append(str(error))
    raise GuestError("\n".join(errors))


def _build(suite: str, directory: Path) -> None:
    install(suite, "essential", ["incus-base"], directory / "root")


class Incus:
    """An Incus daemon with a state directory of its own.

    :param home: the directory in which the state directory is created.
    :ivar containers: the directory with Incus's records of containers.
    :ivar socket: the socket of Incus's API for operators.
    :ivar guest_api: the directory of the socket of its guest API.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._directory = home / "incus-home"
        self._programs = home / "host"
        for path in (self._directory, self._programs / "usr", self._programs / "etc"):
            path.mkdir(parents=True)
        self._names: list[str] = []
        self.containers = self._directory / "containers"
        self.socket = self._directory / "unix.socket"
        self.guest_api = self._directory / "guestapi"

    def start(self) -> None:
        """Start the daemon, and create a storage pool and an image.

        :raises GuestError: if a step fails; then nothing is left behind.
        """
        root = incus_root()
        namespaces = ["unshare", "--mount", "--net", "--propagation=private"]
        enter = ["sh", "-euc", _ENTER, "sh", str(root), str(self._programs)]
        daemon = ["/usr/libexec/incus/incusd", "--group", "root"]
        self._daemon = start(
            *namespaces, *enter, *daemon, env=self._environment, output=Output("incusd")
        )
        try:
            wait_until(self._is_ready, "Incus is ready")
            self._set_up()
        except BaseException:
            self.stop()
            raise

    def _is_ready(self) -> bool:
        if self._daemon.poll() is not None:
            raise GuestError("Incus has ended")
        # The socket is there before the daemon answers, but not before it has
        # entered its namespaces.
        if not self.socket.exists():
            return False
        self._run("incus", "admin", "waitready", f"--timeout={TIMEOUT:.0f}")
        return True

    def _set_up(self) -> None:
        self.incus("config", "set", "images.auto_update_interval=0")
        self.incus("storage", "create", "default", "dir")
        self.incus("profile", "device", "add", "default", "root", *ROOT_DISK)
        image = write_image(self._home)
        self.incus("image", "import", str(image), "--alias", "host")

    def start_container(self, name: str, binds: dict[Path, str]) -> None:
        """Create and start an unprivileged container with the programs of the host.

        Its init runs ``/run/init/init.py``.

        :param binds: further bind mounts: directories of the host, and their
            paths in the container without the first slash.
        """
        self._names.append(name)
        self.incus("init", "host", name)
        raw = ["lxc.init.cmd = /usr/bin/python3 /run/init/init.py"]
        for guest in HOST_DIRECTORIES:
            # On a host with a merged /usr the others are symbolic links to it.
            path = (Path("/") / guest).resolve().relative_to("/")
            entry = f"{self._programs / path} {guest} none bind,ro,create=dir 0 0"
            raw.append(f"lxc.mount.entry = {entry}")
        for host, guest in binds.items():
            entry = f"{host} {guest} none bind,create=dir 0 0"
            raw.append(f"lxc.mount.entry = {entry}")
        self.incus("config", "set", name, "raw.lxc=" + "\n".join(raw))
        try:
            self.incus("start", name)
        except GuestError as error:
            log = self.incus("info", "--show-log", name)
            raise GuestError(f"{error}{log}") from error

    def major_version(self) -> int:
        """Return the first part of the daemon's version."""
        found = json.loads(self.incus("query", "/1.0"))
        return int(found["environment"]["server_version"].split(".")[0])

    def publish_image(self) -> str:
        """Make the image of the containers public; return its fingerprint."""
        (image,) = json.loads(self.incus("image", "list", "--format=json"))
        fingerprint = str(image["fingerprint"])
        path = f"/1.0/images/{fingerprint}"
        self.incus("query", "-X", "PUT", "-d", '{"public": true}', path)
        return fingerprint

    def incus(self, *arguments: str) -> str:
        """Run Incus's client; return its stdout."""
        return self._run("incus", *arguments)

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "HOME": str(self._home),
            "INCUS_CONF": str(self._home / "incus-client"),
            "INCUS_DIR": str(self._directory),
            "LANG": "C.UTF-8",
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }

    def _run(self, *command: str) -> str:
        enter = ["nsenter", f"--target={self._daemon.pid}", "--mount", "--net"]
        return run(*enter, *command, env=self._environment)

    def stop(self) -> None:
        """Remove the containers and kill the daemon; its mounts go with it."""
        try:
            for name in self._names:
                with contextlib.suppress(GuestError):
                    self.incus("delete", "-f", name)
        finally:
            # The daemon takes long to end after SIGTERM.
            self._daemon.kill()
            self._daemon.wait(TIMEOUT)
            for name in self._names:
                _remove_cgroups(name)


def _remove_cgroups(name: str) -> None:
    """Kill what is left of a container, and remove its cgroups."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    (top, *_) = [Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"]
    for kind in ("payload", "monitor"):
        for cgroup in top.glob(f"lxc.{kind}.{name}*"):
            (cgroup / "cgroup.kill").write_text("1")
            wait_until(partial(_is_empty, cgroup), f"{cgroup} is empty")
            for directory, _, _ in os.walk(cgroup, topdown=False):
                os.rmdir(directory)


def _is_empty(cgroup: Path) -> bool:
    return "populated 0" in (cgroup / "cgroup.events").read_text()

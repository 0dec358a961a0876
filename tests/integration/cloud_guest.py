"""Guests that boot like cloud images: Debian with systemd and cloud-init.

Each guest is an unprivileged LXC container. Its root is an overlay over a root file
system that is made once for all guests, see `tests.integration.root_file_systems`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from tests.integration import lxc
from tests.integration.lxc import LXCContainer
from tests.integration.processes import GuestError, run, wait_until
from tests.integration.root_file_systems import (
    REQUIRED_PROGRAMS,
    cached_root,
    install,
)

#: The release of Debian in the guests.
SUITE = "trixie"

#: The packages in the guests, besides the essential ones and apt.
PACKAGES = [
    "ca-certificates",
    "cloud-init",
    "curl",
    "dbus",
    "eatmydata",
    "iproute2",
    "netbase",
    "netplan.io",
    "openssh-server",
    "sudo",
    "systemd",
    "systemd-resolved",
    "systemd-sysv",
]

#: The uid and gid of the guests' root on the host.
HOST_ID = 100_000

#: The files that are added to the root file system. The network of a guest leads
#: nowhere: without an address, its boot would wait for one for two minutes.
ADDED_FILES = {
    "etc/systemd/system/systemd-networkd-wait-online.service.d/tests.conf": (
        "[Service]\nTimeoutStartSec=30\n"
    )
}

#: What mmdebstrap copies from the host or makes once, and each guest makes itself.
REMOVED_FILES = ["etc/hostname", "etc/ssh/ssh_host_*"]

#: The units that are switched off, as they fail in each unprivileged container.
MASKED_UNITS = ["sys-kernel-debug.mount"]

#: The configuration of a guest, without its name, paths and mounts. LXC's files make
#: it a container that may run systemd.
_CONFIG = f"""\
lxc.include = /usr/share/lxc/config/common.conf
lxc.include = /usr/share/lxc/config/userns.conf
lxc.idmap = u 0 {HOST_ID} 65536
lxc.idmap = g 0 {HOST_ID} 65536
lxc.apparmor.profile = unconfined
lxc.rootfs.options = userxattr
lxc.net.0.type = veth
lxc.net.0.flags = up
lxc.uts.name = unnamed
"""

#: The environment of a command in a guest.
_ENVIRONMENT = ["HOME=/root", "LANG=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]


def missing_requirement() -> str | None:
    """Return what this host lacks to build and run guests, or ``None``."""
    return lxc.missing_requirement(REQUIRED_PROGRAMS)


def build_root(suite: str = SUITE, packages: Sequence[str] = tuple(PACKAGES)) -> Path:
    """Return the root file system; build it if it does not exist.

    Its name contains a digest of all that it consists of: another list of packages
    makes another one.

    :param suite: the release of Debian.
    :param packages: the packages in it, besides the essential ones and apt.
    :raises GuestError: if it cannot be built.
    """
    parts = [list(packages), ADDED_FILES, REMOVED_FILES, MASKED_UNITS, HOST_ID]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def build(directory: Path) -> None:
        archive, root = directory / "root.tar", directory / "root"
        install(suite, "minbase", packages, archive)
        root.mkdir()
        _unpack(archive, root)
        _adapt(root)

    return cached_root(f"{suite}-{digest[:12]}", build)


def _unpack(path: Path, root: Path) -> None:
    """Unpack the archive of a file system for a container with mapped ids."""
    with tarfile.open(path) as archive:
        # As every Python did before 3.14: keep the owners and the modes.
        archive.extraction_filter = lambda member, _path: member
        for member in archive:
            if not member.isdev():
                member.uid += HOST_ID
                member.gid += HOST_ID
                archive.extract(member, root, numeric_owner=True)


def _adapt(root: Path) -> None:
    for pattern in REMOVED_FILES:
        for path in root.glob(pattern):
            path.unlink()
    units = root / "etc/systemd/system"
    for unit in MASKED_UNITS:
        (units / unit).symlink_to("/dev/null")
        os.lchown(units / unit, HOST_ID, HOST_ID)
    for name, text in ADDED_FILES.items():
        write_file(root, name, text)


def write_file(root: Path, name: str, text: str) -> None:
    """Write a file into a guest's file system, as the guest's root.

    :param name: its path without the first slash.
    """
    path = root / name
    for parent in reversed(path.relative_to(root).parents):
        if not (root / parent).exists():
            (root / parent).mkdir()
            os.chown(root / parent, HOST_ID, HOST_ID)
    path.write_text(text)
    os.chown(path, HOST_ID, HOST_ID)


def cloud_init_is_done(pid: int) -> bool:
    """Return whether cloud-init has ended in this boot of a guest.

    :param pid: the pid of the guest's init on the host.
    :raises GuestError: if cloud-init is switched off.
    """
    directory = Path(f"/proc/{pid}/root/run/cloud-init")
    if (directory / "disabled").exists():
        raise GuestError(f"cloud-init in the guest of {pid} is switched off")
    return (directory / "result.json").exists()


@frozen
class CloudGuest:
    """A guest that boots systemd and cloud-init.

    Until cloud-init sets its hostname, this is ``unnamed``. It has a network device
    ``eth0`` that leads nowhere.

    :ivar name: its name in LXC.
    :ivar home: LXC's directory of containers (its ``lxcpath``).
    :ivar sockets: the directory of the host that it sees as ``/dev/lxd``, or ``None``.
    :ivar files: further files in its root, see `write_file`.
    :ivar root: returns its root file system, see `build_root`.
    """

    name: str
    home: Path
    sockets: Path | None = None
    files: Mapping[str, str] = field(factory=dict)
    root: Callable[[], Path] = build_root

    def start(self) -> None:
        """Create the guest and begin to boot it.

        The socket in ``sockets`` must exist: a guest that has none when its
        generators run switches cloud-init off.

        :raises GuestError: if it does not start; contains LXC's log.
        """
        path = self.home / self.name
        delta = path / "delta"
        delta.mkdir(parents=True)
        for name, text in self.files.items():
            write_file(delta, name, text)
        # LXC creates the work directory of the overlay as the guest's root.
        for directory in (path, delta):
            os.chown(directory, HOST_ID, HOST_ID)
        config = [
            _CONFIG + f"lxc.rootfs.path = overlay:{self.root()}:{delta}",
            f"lxc.console.logfile = {path}/console",
        ]
        if self.sockets is not None:
            entry = f"{self.sockets} dev/lxd none bind,ro,create=dir 0 0"
            config.append(f"lxc.mount.entry = {entry}")
        (path / "config").write_text("\n".join(config) + "\n")
        log = path / "log"
        # Without PATH, LXC finds no newuidmap and maps the ids itself: then root
        # needs no entries in /etc/subuid and /etc/subgid.
        environment = {name: os.environ[name] for name in os.environ if name != "PATH"}
        program = shutil.which("lxc-start") or "lxc-start"
        command = [program, "-P", str(self.home), "-n", self.name, "-o", str(log)]
        try:
            run(*command, env=environment)
        except GuestError as error:
            text = log.read_text() if log.exists() else ""
            shutil.rmtree(path)
            raise GuestError(f"{error}{text}") from error

    def wait(self) -> dict[str, Any]:
        """Wait until cloud-init is done; return its status.

        :return: what ``cloud-init status --format=json`` prints.
        :raises GuestError: if cloud-init is switched off.
        """
        self.wait_for_result()
        # The status is "done" when systemd, too, knows of it.
        text = self.run(
            *("sh", "-c", "cloud-init status --wait --format=json || test $? = 2")
        )
        status: dict[str, Any] = json.loads(text)
        return status

    def wait_for_result(self) -> None:
        """Wait until cloud-init is done, without running anything in the guest.

        :raises GuestError: if cloud-init is switched off.
        :raises AssertionError: after the timeout, with what the boot has printed.
        """
        try:
            wait_until(
                lambda: cloud_init_is_done(self.init_pid()),
                f"cloud-init in {self.name} is done",
            )
        except AssertionError as error:
            console = self.home / self.name / "console"
            printed = console.read_text(errors="replace")
            raise AssertionError(f"{error}\n{printed}") from None

    def reboot(self) -> None:
        """Reboot the guest in good order; return when the new boot has begun.

        :raises GuestError: if it does not reboot within two minutes.
        """
        before = self.init_pid()
        command = ["lxc-stop", "-P", str(self.home), "-n", self.name]
        run(*command, "--reboot", "--timeout=120")
        if self.init_pid() == before:
            raise GuestError(f"{self.name} has not rebooted")

    def stop(self) -> None:
        """Kill and remove the guest."""
        self._container.stop()

    def run(self, *command: str) -> str:
        """Run a command as the guest's root.

        :return: its stdout, which is UTF-8.
        :raises GuestError: if it fails.
        """
        output = self._container.attach("env", "-i", *_ENVIRONMENT, *command)
        return output.encode("latin-1").decode()

    def read(self, path: str) -> str:
        """Return the text of a file of the guest."""
        return self.run("cat", path)

    def init_pid(self) -> int:
        """Return the pid of its init on the host."""
        return self._container.init_pid()

    @property
    def _container(self) -> LXCContainer:
        return LXCContainer(self.name, self.home, HOST_ID)

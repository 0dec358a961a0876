"""A real LXD with real containers, for comparisons with devlxd."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.integration.host_image import ROOT_DISK, write_image
from tests.integration.lxc import HOST_DIRECTORIES, missing_requirement
from tests.integration.processes import TIMEOUT, GuestError, run, start


def missing_lxd() -> str | None:
    """Return what this host lacks to run LXD, or ``None``."""
    if shutil.which("lxd") is None or shutil.which("lxc") is None:
        return "needs lxd (Debian: apt-get install lxd lxd-client)"
    return missing_requirement()


class LXD:
    """An LXD daemon with a state directory of its own.

    :param home: the directory in which the state directory is created.
    :ivar containers: the directory with LXD's records of containers.
    :ivar socket: the socket of LXD's API for operators.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._directory = home / "lxd-home"
        self._directory.mkdir()
        self._environment = {**os.environ, "LXD_DIR": str(self._directory)}
        self.containers = self._directory / "containers"
        self.socket = self._directory / "unix.socket"

    def launch(self) -> None:
        """Start the daemon, with the data of its earlier runs."""
        self._daemon = start("lxd", "--group", "root", env=self._environment)
        self._run("lxd", "waitready", f"--timeout={TIMEOUT:.0f}")

    def has_ended(self) -> bool:
        """Return whether the daemon has ended, for example by a crash.

        LXD 5.0.2 reads a map of its connections without a lock. It crashes when a
        connection is closed while it handles a request of another one.
        """
        return self._daemon.poll() is not None

    @property
    def pid(self) -> int:
        """The pid of the daemon."""
        return self._daemon.pid

    def start(self) -> None:
        """Start the daemon, and create a storage pool and an image."""
        try:
            self.launch()
            self._set_up()
        except GuestError:
            self.stop()
            raise

    def _set_up(self) -> None:
        self.lxc("storage", "create", "default", "dir")
        self.lxc("profile", "device", "add", "default", "root", *ROOT_DISK)
        image = write_image(self._home)
        self.lxc("image", "import", str(image), "--alias", "host")

    def start_container(
        self,
        name: str,
        binds: dict[Path, str],
        init: str = "/usr/bin/python3 /run/init/init.py",
    ) -> None:
        """Create and start a container with the programs of the host.

        :param binds: further bind mounts: directories of the host, and their
            paths in the container without the first slash.
        :param init: the command line of its init.
        """
        self.lxc("init", "host", name)
        raw = [f"lxc.init.cmd = {init}"]
        entries = {Path("/") / bound: bound for bound in HOST_DIRECTORIES} | binds
        for host, guest in entries.items():
            mode = "ro," if guest in HOST_DIRECTORIES else ""
            entry = f"{host} {guest} none bind,{mode}create=dir 0 0"
            raw.append(f"lxc.mount.entry = {entry}")
        self.lxc("config", "set", name, "raw.lxc", "\n".join(raw))
        self.lxc("start", name)

    def edit(
        self,
        kind: str,
        name: str,
        config: Mapping[str, str],
        devices: Mapping[str, Mapping[str, str]],
    ) -> None:
        """Replace the config and the devices of a container or a profile.

        What LXD itself and `start_container` have set stays.

        :param kind: ``config`` for a container, else ``profile``.
        """
        path = {"config": "instances", "profile": "profiles"}[kind]
        # `run` decodes Latin-1, and LXD writes UTF-8.
        queried = self.lxc("query", f"/1.0/{path}/{name}").encode("latin-1")
        shown = json.loads(queried)
        for key, value in shown["config"].items():
            if key.startswith(("image.", "raw.", "volatile.")):
                config = {**config, key: value}
        if "root" in shown["devices"]:
            devices = {**devices, "root": shown["devices"]["root"]}
        shown |= {"config": config, "devices": devices}
        # JSON is YAML. LXD's parser does not accept surrogates.
        document = json.dumps(shown, ensure_ascii=False)
        self._run("lxc", kind, "edit", name, stdin=document)

    def add_image(self, *files: Path) -> str:
        """Import an image and make it public; return its fingerprint."""
        printed = self.lxc("image", "import", *map(str, files))
        fingerprint = printed.split()[-1]
        self._run("lxc", "image", "edit", fingerprint, stdin="public: true\n")
        return fingerprint

    def lxc(self, *arguments: str) -> str:
        """Run LXD's client; return its stdout."""
        return self._run("lxc", *arguments)

    def _run(self, *command: str, stdin: str = "") -> str:
        return run(*command, env=self._environment, stdin=stdin)

    def stop(self) -> None:
        """Delete the containers, stop the daemon, and unmount what it has mounted."""
        try:
            for name in self.lxc("list", "-f", "csv", "-c", "n").split():
                self.lxc("delete", "-f", name)
        finally:
            self.kill()
            self._unmount()

    def _unmount(self) -> None:
        mounts = Path("/proc/mounts").read_text().splitlines()
        for mount in reversed([line.split()[1] for line in mounts]):
            if mount.startswith(f"{self._directory}/"):
                run("umount", "-l", mount)

    def kill(self) -> None:
        """Kill the daemon, as it takes long to end after SIGTERM."""
        self._daemon.kill()
        self._daemon.wait(TIMEOUT)

"""Hosts with Debian, systemd and the package of devlxd, which serves guests there."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from attrs import Factory, define, field, frozen

from tests.integration import key_writer, restart_load
from tests.integration.cloud_guest import CloudGuest
from tests.integration.debian_packages import debian_root
from tests.integration.nested import imitated_guest
from tests.integration.processes import Output, start, wait_until

#: The socket of the guests.
SOCKET = "/run/devlxd/sock"

#: The directory of the documents.
CONTAINERS = "/etc/devlxd/containers"

SERVICE = "devlxd.service"

#: The units of devlxd.
UNITS = ["devlxd.socket", SERVICE]

#: Where the programs of the host are.
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

#: Waits for the end of a boot; some units fail in each container.
_WAIT = "systemctl is-system-running --wait || true"


@define
class Result:
    """What all guests of a `Load` have experienced.

    :ivar asked: the number of questions, by the kind of caller.
    :ivar refused: the number of connects that were refused.
    :ivar failed: the errors of questions, and how often they happened.
    :ivar ended: how streams ended that should not, and how often.
    :ivar slowest: the duration of the slowest question, in seconds.
    :ivar heard: the numbers of the keys that each stream has heard.
    """

    asked: Counter[str] = Factory(Counter)
    refused: int = 0
    failed: Counter[str] = Factory(Counter)
    ended: Counter[str] = Factory(Counter)
    slowest: float = 0.0
    heard: list[list[int]] = Factory(list)

    def add(self, values: dict[str, Any]) -> None:
        """Add the result of one guest."""
        self.asked.update(values["asked"])
        self.refused += values["refused"]
        self.failed.update(values["failed"])
        self.ended.update(values["ended"])
        self.slowest = max(self.slowest, values["slowest"])
        self.heard += values["heard"]

    def flawless(self, keys: int) -> int:
        """Return how many streams have heard ``keys`` keys, each once and in order."""
        return sum(heard == list(range(keys)) for heard in self.heard)


@frozen
class Load:
    """Guests that ask and listen; see `restart_load`.

    :ivar host: the host.
    :ivar homes: the directory of each guest, on the host.
    """

    host: SystemdHost
    homes: Sequence[str]

    def stop(self, keys: int = 0) -> Result:
        """Stop the guests; return what they have experienced.

        :param keys: how many keys each stream has to hear, within a minute.
        """
        result = Result()
        for home in self.homes:
            self.host.shell(f"echo {keys} >{home}/s; mv {home}/s {home}/stop")
        for home in self.homes:
            path = self.host.path(f"{home}/result")
            wait_until(path.exists, f"{home} has a result")
            result.add(json.loads(path.read_text()))
        return result


@define
class SystemdHost:
    """A host: an unprivileged LXC container with Debian trixie and systemd.

    :ivar name: its name in LXC.
    :ivar home: LXC's directory of containers.
    """

    name: str
    home: Path
    _processes: list[subprocess.Popen[bytes]] = field(init=False, factory=list)
    _loads: int = field(init=False, default=0)
    _keys: dict[str, int] = field(init=False, factory=dict)
    _root: Path = field(init=False, default=Path("/nowhere"))

    @property
    def _guest(self) -> CloudGuest:
        return CloudGuest(self.name, self.home, root=partial(debian_root, "trixie"))

    def start(self, package: Path) -> None:
        """Boot the host, and install a package of devlxd.

        :raises GuestError: if that fails.
        """
        self._guest.start()
        self._root = Path(f"/proc/{self._guest.init_pid()}/root")
        self.run("sh", "-c", _WAIT)
        self.put(Path(key_writer.__file__), "/opt/keys.py")
        self.put(Path(restart_load.__file__), "/opt/load.py")
        self.install(package)
        self.wait_for_state("active")

    def install(self, package: Path) -> None:
        """Install or upgrade the package of devlxd."""
        self.put(package, "/opt/devlxd.deb")
        self.run("dpkg", "--install", "/opt/devlxd.deb")

    def stop(self) -> None:
        """Kill and remove the host."""
        self._guest.stop()
        for process in self._processes:
            process.wait()

    def path(self, path: str) -> Path:
        """Return how a path of the host is reached from here."""
        return self._root / path[1:]

    def put(self, path: Path, copy: str) -> None:
        """Copy a file to the host."""
        # The root of this process cannot write there: the host has other users.
        command = self._attach("sh", "-c", f"cat >{copy}")
        with path.open("rb") as file:
            subprocess.run(command, stdin=file, check=True)

    def _attach(self, *command: str) -> Sequence[str]:
        """Return a command that runs ``command`` as the root of the host."""
        attach = ["lxc-attach", "-P", str(self.home), "-n", self.name, "--clear-env"]
        return [*attach, "--", "env", f"PATH={_PATH}", *command]

    def run(self, *command: str) -> str:
        """Run a command as the root of the host; return its stdout.

        :raises GuestError: if it fails.
        """
        return self._guest.run(*command)

    def shell(self, script: str) -> str:
        """Run a shell script as the root of the host; return its stdout."""
        return self.run("sh", "-euc", script)

    def systemctl(self, *arguments: str) -> None:
        """Run systemctl."""
        self.run("systemctl", *arguments)

    def show(self, name: str, unit: str = SERVICE) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "-P", name, unit).strip()

    def main_pid(self) -> int:
        """Return the pid of devlxd in the host; 0 if it does not run."""
        return int(self.show("MainPID"))

    def wait_for_state(self, state: str, unit: str = SERVICE) -> None:
        """Wait until a unit is in a state."""
        wait_until(
            lambda: self.show("ActiveState", unit) == state, f"{unit} is {state}"
        )

    def log(self) -> list[str]:
        """Return the lines that devlxd and systemd have logged of devlxd."""
        return self.run("journalctl", "--output=cat", f"--unit={SERVICE}").splitlines()

    def count_logged(self, text: str) -> int:
        """Return how many logged lines contain ``text``."""
        return sum(text in line for line in self.log())

    def drop_in(self, name: str, text: str) -> None:
        """Write a drop-in for the service, and restart it.

        :param text: the file; if it is empty, the drop-in is removed.
        """
        path = f"/run/systemd/system/{SERVICE}.d/{name}.conf"
        command = f"mkdir -p {os.path.dirname(path)}; "
        command += f"printf %s {shlex.quote(text)} >{path}" if text else f"rm {path}"
        self.shell(f"{command}; systemctl daemon-reload; systemctl restart {SERVICE}")

    def add_keys(self, containers: Sequence[str], count: int, pace: float = 0) -> None:
        """Add keys to containers until each has ``count``; see `key_writer`.

        :param pace: the time between two keys, in seconds.
        """
        first = min(self._keys.get(container, 0) for container in containers)
        numbers = [str(number) for number in (first, count, pace)]
        self.run("python3", "/opt/keys.py", CONTAINERS, *numbers, *containers)
        self._keys.update(dict.fromkeys(containers, count))

    def start_load(
        self,
        containers: Sequence[str],
        callers: int,
        plain: int,
        websockets: int,
        socket: str = SOCKET,
    ) -> Load:
        """Start guests that ask and listen; return when all of them do.

        :param containers: the names of the guests.
        :param callers: the number of callers of each kind in each guest.
        :param plain: the number of event streams of lines in each guest.
        :param websockets: the number of event streams of websockets in each guest.
        :param socket: the path of the socket of a guest, in which ``NAME`` stands for
            the name of the guest.
        """
        homes = []
        for name in containers:
            self._loads += 1
            home = f"/opt/load{self._loads}"
            homes.append(home)
            self.run("mkdir", home)
            self.add_keys([name], self._keys.get(name, 0))
            numbers = [str(number) for number in (callers, plain, websockets)]
            path = socket.replace("NAME", name)
            wait_until(self.path(path).exists, f"devlxd listens at {path}")
            program = ["python3", "/opt/load.py", home, path, *numbers]
            self._start_guest(name, program)
        for home in homes:
            listening = self.path(f"{home}/listening")
            wait_until(listening.exists, f"the guest of {home} listens")
        return Load(self, homes)

    def _start_guest(self, name: str, program: Sequence[str]) -> None:
        command = self._attach(*imitated_guest(name, *program))
        self._processes.append(start(*command, output=Output(f"guest {name}")))

    def security(self) -> float:
        """Return the exposure level of the service, from 0 to 10, best first."""
        line = self.run("systemd-analyze", "security", "--no-pager", SERVICE)
        return float(line.rpartition("service: ")[2].split()[0])

    def signal(self, name: str) -> None:
        """Send a signal to devlxd; return when another process of devlxd is ready."""
        before = self.main_pid()
        self.systemctl("kill", f"--signal={name}", SERVICE)
        wait_until(
            lambda: self.main_pid() not in (0, before) and self._is_running(),
            "devlxd is ready again",
        )

    def _is_running(self) -> bool:
        return self.show("SubState") == "running"

    def socket(self) -> tuple[int, int, int, int]:
        """Return the inode, mode, owner and group of the guests' socket."""
        status = self.path(SOCKET).stat()
        return status.st_ino, status.st_mode, status.st_uid, status.st_gid

"""Tests of a socket for each container, in real containers and on the real reactor."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.host.managers import FakeSystemd
from tests.integration import test_attacks
from tests.integration.guest_programs import SUBSCRIPTION, Barrier, python
from tests.integration.lxc import (
    LXCContainer,
    make_home,
    missing_requirement,
    unique_name,
)
from tests.integration.processes import GuestError, ProcessTestCase, wait_until
from tests.integration.servers import TWISTD, ServerProcess
from tests.integration.test_attacks import CURL

#: What devlxd logs when all sockets are made.
MADE = "have a socket of their own"

#: Asks for the value of a key, over a socket whose path is the argument.
ASK = """
    print(send_request(connect()), end="")
"""

#: Listens to events, and asks on another connection after each of them. At the end it
#: prints the values that it was told of, and those that it was answered.
STREAM = (
    SUBSCRIPTION
    + """
    import json
    told, answered = [], []
    asking = HTTPConnection("unix")
    asking.sock = connect()
    for line in lines:
        told.append(json.loads(line)["metadata"]["value"])
        asking.request("GET", "/1.0/config/user.secret")
        answered.append(asking.getresponse().read().decode())
        host.sendall(told[-1].encode())
        if told[-1] == "last":
            break
    print(json.dumps([told, answered]))
"""
)

#: Connects when the test says so, and asks.
CONNECT = """
    host = arrive(b"connecting")
    host.recv(10)
    connection = connect()
    host.sendall(b"connected")
    print(send_request(connection), end="")
"""

#: Starts a command with a descriptor that systemd has stored for it.
RESTART = """
import os, sys
stored, *command = sys.argv[1:]
os.dup2(int(stored), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = "1"
os.environ["LISTEN_FDNAMES"] = "devlxd-connections"
os.execv(command[0], command)
"""


class EachTests(ProcessTestCase):
    """Two containers, each with its own directory of the socket."""

    skip = missing_requirement()

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        for name in ("containers", "shared", "images"):
            (self.home / name).mkdir()
        (self.home / "shared").chmod(0o777)
        self.sockets = self.home / "each"
        self.names = [unique_name(word) for word in ("a", "b")]
        self.first, self.second = self.names
        for name in self.names:
            self.write(name, f"secret of {name}")
        self.devlxd = self.start_devlxd()
        self.addCleanup(self.stop_devlxd)
        self.containers = [
            # One unprivileged, one privileged container.
            self.container(self.first, 100_000, self.sockets / self.second),
            self.container(self.second, 0, self.sockets / self.first),
        ]
        for container in self.containers:
            container.start()
            self.addCleanup(container.stop)

    def stop_devlxd(self) -> None:
        """Stop the devlxd that runs now."""
        self.devlxd.stop()

    def container(self, name: str, host_id: int, other: Path) -> LXCContainer:
        """Return a container with its own socket, and by mistake also another one."""
        binds = {
            self.sockets / name: "dev/lxd",
            other: "run/other",
            self.home / "shared": "run/shared",
        }
        return LXCContainer(name, self.home, host_id, binds)

    def start_devlxd(self, manager: FakeSystemd | None = None) -> ServerProcess:
        """Start a devlxd; wait until it has made the sockets.

        :param manager: keeps what the last one has left.
        """
        command = [
            TWISTD,
            "-n",
            "--pidfile=",
            "devlxd",
            f"--listen=each:{self.sockets}",
        ]
        for option in ("containers", "state", "images"):
            command.append(f"--{option}={self.home}/{option}")
        stored = manager.inherited() if manager is not None else []
        if stored:
            command = [sys.executable, "-c", RESTART, str(stored[0]), *command]
        environment = dict(os.environ)
        if manager is not None:
            environment["NOTIFY_SOCKET"] = manager.address
        devlxd = ServerProcess(*command, environment=environment, descriptors=stored)
        for descriptor in stored:
            os.close(descriptor)
        devlxd.wait_for(MADE)
        return devlxd

    def write(self, name: str, value: str) -> None:
        """Write the document of a container."""
        new = self.home / "new"
        # The uuid: it is the same container, though its document is another file.
        config = {"user.secret": value, "volatile.uuid": f"uuid of {name}"}
        new.write_text(json.dumps({"config": config}))
        new.rename(self.home / "containers" / f"{name}.json")

    def ask(self, container: LXCContainer, path: str = "/dev/lxd/sock") -> str:
        """Return what a process in a container is answered."""
        return container.run(*python(ASK, socket=path))

    def assert_served(self) -> None:
        """Check that each container reads its own secret at its own socket."""
        for container in self.containers:
            self.assertEqual(self.ask(container), f"secret of {container.name}")

    def test_own(self) -> None:
        """Each container is served at its own socket, and nowhere else."""
        self.assert_served()
        for container in self.containers:
            answer = self.ask(container, "/run/other/sock")
            self.assertEqual(answer, "not in a container\n")
        line = self.devlxd.wait_for(f"it is in {self.first}, but has called")
        self.assertIn(f"the socket of {self.second}", line)

    def test_come_and_go(self) -> None:
        """A container that is removed and added while it runs is served again."""
        (self.home / "containers" / f"{self.first}.json").unlink()
        wait_until(
            lambda: not (self.sockets / self.first / "sock").exists(), "no socket"
        )
        with self.assertRaises(GuestError):
            self.ask(self.containers[0])
        self.write(self.first, f"secret of {self.first}")
        wait_until((self.sockets / self.first / "sock").exists, "a socket")
        self.assert_served()

    def test_added(self) -> None:
        """A container that is added can be started a moment later."""
        name = unique_name("c")
        self.write(name, f"secret of {name}")
        wait_until((self.sockets / name / "sock").exists, "a socket")
        added = self.container(name, 100_000, self.sockets / self.first)
        added.start()
        self.addCleanup(added.stop)
        self.assertEqual(self.ask(added), f"secret of {name}")

    def test_restarts(self) -> None:
        """Running containers are served after a restart, and after a ``SIGKILL``."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self.devlxd.stop(number)
            self.devlxd = self.start_devlxd()
            self.assert_served()

    def test_handover(self) -> None:
        """Over a restart by systemd nothing is lost.

        Open streams and connections continue, and a guest that connects while there is
        no devlxd waits in the queue of its socket.
        """
        self.devlxd.stop()
        manager = FakeSystemd(self)
        self.devlxd = self.start_devlxd(manager)
        guest = self.containers[0]
        with ThreadPoolExecutor() as pool, Barrier(self.home / "shared") as barrier:
            stream = python(STREAM, "listening", "/dev/lxd/sock")
            streaming = pool.submit(guest.run, *stream)
            listening, _ = barrier.wait_for(b"listening")
            connecting = pool.submit(guest.run, *python(CONNECT))
            waiting, _ = barrier.wait_for(b"connecting")
            self.write(guest.name, "one")
            self.assertEqual(listening.recv(10), b"one")
            self.devlxd.stop()
            self.assertIn("2 sockets of containers are left", "".join(self.devlxd.log))
            waiting.sendall(b"now")
            self.assertEqual(waiting.recv(10), b"connected")
            self.write(guest.name, "two")
            self.devlxd = self.start_devlxd(manager)
            self.assertEqual(listening.recv(10), b"two")
            self.assertEqual(connecting.result(), "two")
            self.write(guest.name, "last")
            values = ["one", "two", "last"]
            self.assertEqual(json.loads(streaming.result()), [values, values])
        self.write(guest.name, f"secret of {guest.name}")
        wait_until(lambda: "secret" in self.ask(guest), "the old value")
        self.assert_served()

    def test_read_only(self) -> None:
        """No container can change the directory of its socket."""
        for container in self.containers:
            for command in ("rm /dev/lxd/sock", "touch /dev/lxd/file"):
                with self.assertRaisesRegex(GuestError, "Read-only file system"):
                    container.run("sh", "-c", command)

    def test_planted(self) -> None:
        """What root of a privileged container plants in a directory is not followed."""
        target = self.home / "target"
        target.touch(0o600)
        plant = f"rm /run/other/sock && ln -s {target} /run/other/sock"
        self.containers[1].run("sh", "-c", plant)
        self.devlxd.stop()
        self.devlxd = self.start_devlxd()
        self.assert_served()
        self.assertEqual(target.stat().st_mode & 0o777, 0o600)

    def test_second(self) -> None:
        """A second devlxd in the same directory is refused with one line."""
        with self.assertRaisesRegex(GuestError, "another devlxd \\(pid"):
            self.start_devlxd()
        self.assert_served()


class EachAttackTests(test_attacks.AttackTests):
    """All attacks of `test_attacks`, by a container with a socket of its own."""

    def endpoint(self) -> str:
        """See `AttackTests.endpoint`."""
        return f"each:{self.home}/lxd"

    def directory(self, name: str) -> Path:
        """See `AttackTests.directory`."""
        return self.home / "lxd" / name

    def wait_for_sockets(self) -> None:
        """See `AttackTests.wait_for_sockets`."""
        self.devlxd.wait_for(MADE)

    def assert_not_served(self) -> None:
        """See `AttackTests.assert_not_served`: there is no socket any more."""
        with self.assertRaises(GuestError):
            self.attacker.run(*CURL)

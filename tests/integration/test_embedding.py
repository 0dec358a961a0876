"""Tests that run the agents of docs/embedding.rst, and some that cannot listen."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.integration.lxc import LXCContainer, missing_requirement, unique_name
from tests.integration.processes import TIMEOUT, run, start, wait_until
from tests.integration.servers import TWISTD, ServerProcess
from tests.integration.test_readme import ReadmeTestCase
from tests.readme import CHECKOUT, EMBEDDING, blocks_of

BUILDBOT_WORKER = Path(sys.executable).with_name("buildbot-worker")

CURL = ["curl", "-s", "--unix-socket", "/dev/lxd/sock"]

KEY = "http://lxd/1.0/config/user.foo"

#: Starts and stops a service several times, and checks what that leaves.
RESTARTING = """
import os, sys
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import react
from devlxd import Container, DevLXDService, MemoryStore, SQLiteJournal
from devlxd.peers.assumed_identifier import AssumedIdentifier
from devlxd.peers.peer_sources import AnonymousPeerSource

class Guest(Protocol):
    def connectionMade(self):
        self.received, self.closed = Deferred(), Deferred()
        self.transport.write(b"GET /1.0/events HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    def dataReceived(self, data):
        if self.received is not None:
            received, self.received = self.received, None
            received.callback(data)
    def connectionLost(self, reason):
        self.closed.callback(None)

def left():
    readers = [r for r in reactor.getReaders() if "Waker" not in type(r).__name__]
    calls = [*reactor.getDelayedCalls(), *readers, *reactor.getWriters()]
    files = []
    for fd in os.listdir("/proc/self/fd"):
        if os.path.exists(f"/proc/self/fd/{fd}"):
            files.append(os.readlink(f"/proc/self/fd/{fd}"))
    return calls, sorted(files)

async def main(reactor, home):
    path = home + "/sock"
    store = MemoryStore([Container("c1")])
    service = DevLXDService(
        reactor,
        store,
        {"lxd": path},
        AssumedIdentifier("c1"),
        AnonymousPeerSource(),
        journal=SQLiteJournal(home + "/journal"),
    )
    for number in range(3):
        service.privilegedStartService()
        service.startService()
        endpoint = UNIXClientEndpoint(reactor, path)
        guest = await endpoint.connect(Factory.forProtocol(Guest))
        assert b" 200 OK" in await guest.received
        store.set_config("c1", "user.a", str(number))
        await service.stopService()
        await guest.closed
        calls, files = left()
        assert not calls, calls
        assert not [f for f in files if f.startswith(("socket:", home))], files
        # The first time, Twisted opens files that it keeps until the process ends.
        assert number == 0 or files == before, (files, before)
        before = files
        assert not os.path.exists(path)
    print("nothing is left")

react(main, sys.argv[1:])
"""


class EmbeddingTestCase(ReadmeTestCase):
    """A base class that runs the agents of the page."""

    def guest(self) -> LXCContainer:
        """Start a container with the socket."""
        directory = self.home / "run"
        directory.mkdir()
        container = LXCContainer(
            self.name, self.home / "lxc", binds={directory: "dev/lxd"}
        )
        container.start()
        self.addCleanup(container.stop)
        return container

    def write_agent(self, listen: object) -> Path:
        """Write the agent of the page with another ``listen``; return its path."""
        (agent, _command) = blocks_of(EMBEDDING, "Ten lines")
        assert '"/run/devlxd"' in agent
        path = self.home / "agent.tac"
        path.write_text(self.adapt(agent.replace('"/run/devlxd"', repr(listen))))
        return path


class AgentTests(EmbeddingTestCase):
    """The agents of the page, with real containers."""

    skip = missing_requirement()

    def test_ten_lines(self) -> None:
        """The agent of ten lines serves its container."""
        container = self.guest()
        agent, command = blocks_of(EMBEDDING, "Ten lines")
        (self.home / "agent.tac").write_text(self.adapt(agent))
        self.replacements["agent.tac"] = f"{self.home}/agent.tac"
        server = ServerProcess(*shlex.split(self.adapt(command)))
        self.addCleanup(server.stop)
        self.assertEqual(container.attach(*CURL, KEY), "bar")

    def test_agent(self) -> None:
        """The agent starts its containers, and their guests take the new secrets."""
        command, secrets = blocks_of(EMBEDDING, "An agent that starts containers")
        second = unique_name("readme")
        self.replacements.update(
            {
                "examples/agent.py": f"{self.home}/examples/agent.py",
                "c2": second,
            }
        )
        shutil.copytree(CHECKOUT / "examples", self.home / "examples")
        agent = self.home / "examples" / "agent.py"
        for documented in ("/run/devlxd", '"c1"', '"c2"'):
            self.assertIn(documented, agent.read_text())
        agent.write_text(self.adapt(agent.read_text()))
        server = ServerProcess(*shlex.split(self.adapt(command)))
        self.addCleanup(server.stop)
        for _ in (self.name, second):
            server.wait_for("has taken its new secret")
        for name in (self.name, second):
            for text in ("is ready", "has taken its new secret"):
                self.assertIn(f"{name} {text}", "".join(server.log))

        def taken() -> bool:
            stored, given = (
                self.run_block(line) for line in secrets.strip().splitlines()
            )
            return bool(stored) and stored == given

        wait_until(taken, "the guest has stored its secret")
        self.assertEqual(server.stop(), -signal.SIGTERM)
        self.assertNotIn(self.name, run("lxc-ls", "--active"))

    def test_buildbot_worker(self) -> None:
        """A Buildbot worker without a master serves the guest."""
        if not BUILDBOT_WORKER.exists():
            self.skipTest("needs buildbot-worker (pip install buildbot-worker)")
        container = self.guest()
        self.replacements["/srv/worker"] = f"{self.home}/worker"
        self.replacements["buildbot.example.org"] = "localhost"
        create, lines, begin = blocks_of(EMBEDDING, "A Buildbot worker")
        self.run_block(create)
        with open(self.home / "worker" / "buildbot.tac", "a") as tac:
            tac.write(self.adapt(lines))
        # exec: the signal must reach twistd, not the shell.
        worker = start("sh", "-c", self.adapt(begin).replace("&& ", "&& exec "))
        self.addCleanup(worker.wait, TIMEOUT)
        self.addCleanup(worker.send_signal, signal.SIGTERM)
        path = self.home / "run" / "sock"
        wait_until(lambda: path.exists() or worker.poll() is not None, "the socket")
        self.assertEqual(container.attach(*CURL, KEY), "bar")


class ListeningTests(EmbeddingTestCase):
    """An agent that cannot listen, and one that is stopped."""

    def assert_fails(self, listen: object, path: str, reason: str) -> None:
        """Check that twistd fails with one line that has the path and the reason."""
        agent = self.write_agent(listen)
        done = subprocess.run(
            [TWISTD, "--pidfile=", "-ny", str(agent)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        self.assertEqual(done.returncode, 1, done.stdout)
        lines = (done.stdout + done.stderr).splitlines()
        found = [line for line in lines if path in line and reason in line]
        self.assertTrue(found, lines)

    def test_missing(self) -> None:
        """twistd names the socket whose directory is missing."""
        path = f"{self.home}/missing/sock"
        self.assert_fails(path, path, "No such file or directory")

    def test_file(self) -> None:
        """twistd names the directory that cannot be created."""
        (self.home / "file").touch()
        path = f"{self.home}/file/devlxd"
        self.assert_fails(path, path, "Not a directory")

    def test_occupied(self) -> None:
        """twistd names the socket with a listener, and removes that it has created."""
        path = f"{self.home}/sock"
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
            other.listen()
            self.assert_fails([f"{self.home}/run", path], path, f"pid {os.getpid()}")
        self.assertEqual(os.listdir(f"{self.home}/run"), [])

    def test_long(self) -> None:
        """twistd names the path that is too long for a socket."""
        path = f"{self.home}/{'x' * 108}.sock"
        self.assert_fails(path, path, "at most 107")

    def test_stopped(self) -> None:
        """With a real reactor, nothing is left of a service, which starts again."""
        output = run(sys.executable, "-c", RESTARTING, str(self.home))
        self.assertIn("nothing is left", output)

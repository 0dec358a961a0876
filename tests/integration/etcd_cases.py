"""A base class of tests of a real devlxd that reads its containers from a real etcd."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

from tests.integration.etcd_members import PROGRAMS, EtcdMember
from tests.integration.etcd_writer import COUNTER, CountingWriter
from tests.integration.guest_listener import GuestListener, ask, every_change, over
from tests.integration.lxc import make_home, missing_requirement
from tests.integration.processes import ProcessTestCase, wait_until
from tests.integration.servers import TWISTD, ServerProcess
from tests.integration.unix_relay import UnixRelay

#: The prefix of the host's keys.
PREFIX = "/devlxd/h1/"

#: The key of the container as which every caller is served.
KEY = f"{PREFIX}c1"

#: A guest whose container is not known is answered at once.
AT_ONCE = ("--limit=loading-timeout=0",)


class EtcdTestCase(ProcessTestCase):
    """A base class with one container, ``c1``, as which every caller is served.

    :ivar home: a directory for sockets and data.
    :ivar devlxd: the devlxd that runs, after `serve`.
    """

    skip = missing_requirement(PROGRAMS)

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        (self.home / "state").mkdir()
        self.connect = over(f"{self.home}/sock")
        self._running: list[ServerProcess] = []

    def start_member(self, *options: str) -> EtcdMember:
        """Start a member of etcd that is alone, and wait until it answers."""
        member = EtcdMember(
            self.home, "--heartbeat-interval=10", "--election-timeout=100", *options
        )
        self.addCleanup(member.stop)
        member.start()
        member.wait()
        return member

    def start_relay(self, member: EtcdMember) -> UnixRelay:
        """Start a relay to a member."""
        relay = UnixRelay(self.home / "relay.sock", member.socket)
        relay.__enter__()
        self.addCleanup(relay.__exit__)
        return relay

    def serve(
        self, *endpoints: str | Path, query: str = "", options: Sequence[str] = ()
    ) -> ServerProcess:
        """Start devlxd.

        :param endpoints: of etcd, in order: the paths of sockets, or URLs.
        :param query: further settings, each with ``&`` before it.
        :param options: further options of ``twistd devlxd``.
        """
        places = ",".join(f"unix:{e}" if isinstance(e, Path) else e for e in endpoints)
        self.devlxd = ServerProcess(
            *(TWISTD, "-n", "--pidfile=", "devlxd", "--assume=c1"),
            f"--containers=etcd:{places}?prefix={PREFIX}{query}",
            f"--listen=unix:{self.home}/sock",
            f"--state={self.home}/state",
            *options,
        )
        self._running.append(self.devlxd)
        self.addCleanup(self.stop_serving, self.devlxd)
        return self.devlxd

    def stop_serving(self, devlxd: ServerProcess, number: int = signal.SIGTERM) -> None:
        """Stop a devlxd if it runs, and check its exit status and its log."""
        if devlxd in self._running:
            self._running.remove(devlxd)
            self.assertEqual(devlxd.stop(number), -number)
            self.assertNotIn("Traceback", "".join(devlxd.log))

    def listen(self) -> GuestListener:
        """Listen to events as the guest, as soon as its container is known."""
        listener = GuestListener(self.connect)
        self.wait_until_known()
        listener.listen()
        self.addCleanup(listener.stop)
        return listener

    def wait_until_known(self) -> None:
        """Wait until the guest is answered."""
        wait_until(lambda: self.value()[0] == 200, "the container is known")

    def value(self) -> tuple[int, str]:
        """Ask for the counter as the guest; return the status and the body."""
        return ask(self.connect, f"/1.0/config/{COUNTER}")

    def wait_for_value(self, number: int) -> None:
        """Wait until the guest reads the number of the latest change."""
        wanted = (200, str(number))
        try:
            wait_until(lambda: self.value() == wanted, f"the answer is {wanted}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.value()}") from None

    def check_all_heard(
        self, listener: GuestListener, writer: CountingWriter, first: int = 1
    ) -> None:
        """Check that a guest hears each change after ``first`` once, in order."""
        if writer.number > first:
            listener.wait_for(writer.number)
        # What is heard twice could still come.
        writer.write()
        listener.wait_for(writer.number)
        self.assertEqual(listener.heard, every_change(first, writer.number))
        self.assertFalse(listener.has_ended)
        self.assertEqual(self.value(), (200, str(writer.number)))

"""Tests of a devlxd with three real members of etcd that fail in turn.

A guest listens meanwhile: it must hear each change once and in order.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration import etcd_cluster, etcd_members
from tests.integration.etcd_cases import KEY, EtcdTestCase
from tests.integration.etcd_cluster import EtcdCluster, EtcdNetworks
from tests.integration.etcd_members import EtcdMember
from tests.integration.etcd_writer import CountingWriter
from tests.integration.lxc import missing_requirement, unique_name
from tests.integration.processes import wait_until


class FaultTests(EtcdTestCase):
    """Three members, a container that changes all the time, and a listening guest."""

    skip = missing_requirement({**etcd_members.PROGRAMS, **etcd_cluster.PROGRAMS})

    def setUp(self) -> None:
        super().setUp()
        networks = EtcdNetworks(unique_name("etcd"), EtcdCluster.SIZE)
        self.addCleanup(networks.remove)
        networks.create()
        self.cluster = EtcdCluster(self.home, networks)
        self.addCleanup(self.cluster.stop)
        self.cluster.start()
        clients = [member.client for member in self.cluster.members]
        self.writer = CountingWriter(clients, KEY)
        self.writer.write()
        self.serve(*(member.socket for member in self.cluster.members))
        self.listener = self.listen()

    def used(self) -> EtcdMember:
        """Wait until devlxd is connected to a member; return it."""
        return wait_until(
            lambda: self.cluster.used_by(self.devlxd.pid), "devlxd uses a member"
        )

    @contextmanager
    def changing(self, victim: EtcdMember, fault: str) -> Iterator[None]:
        """Write meanwhile; wait before and after that devlxd hears of changes.

        Prints how long devlxd was without news after the block.
        """
        # The writer tries the members in turn: a hanging one costs it time.
        others = [member for member in self.cluster.members if member is not victim]
        clients = [member.client for member in (*others, victim)]
        self.writer = CountingWriter(clients, KEY).after(self.writer)
        with self.writer.writing():
            self.listener.wait_for_more()
            yield
            begin = time.monotonic()
            wait_until(
                lambda: self.cluster.used_by(self.devlxd.pid) not in (None, victim),
                f"devlxd uses another member than {victim.name}",
            )
            self.listener.wait_for_more()
            lasted = time.monotonic() - begin
        sys.stdout.write(f"\n{fault}: another member after {lasted:.1f} s\n")

    def test_killed(self) -> None:
        """Each member is killed in turn while devlxd uses it, and comes back."""
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
            victim = self.used()
            with self.changing(victim, signal.Signals(number).name):
                victim.stop(number)
            victim.start()
            victim.wait()
        self.check_all_heard(self.listener, self.writer)

    def test_hanging(self) -> None:
        """A member that is stopped closes no connection: devlxd finds out."""
        victim = self.used()
        with self.changing(victim, "SIGSTOP"):
            victim.send_signal(signal.SIGSTOP)
        victim.send_signal(signal.SIGCONT)
        victim.wait()
        self.check_all_heard(self.listener, self.writer)

    def test_cut_off(self) -> None:
        """A member that is cut off from the others knows nothing new."""
        victim = self.used()
        with self.changing(victim, "partition"):
            self.cluster.cut_off(victim)
        self.cluster.join(victim)
        victim.wait()
        self.check_all_heard(self.listener, self.writer)

    def test_all_restarted(self) -> None:
        """While no member runs, guests are served what is known."""
        for number in (signal.SIGKILL, signal.SIGTERM):
            with self.writer.writing():
                self.listener.wait_for_more()
            self.listener.wait_for(self.writer.number)
            self.cluster.stop(number)
            self.assertEqual(self.value(), (200, str(self.writer.number)))
            self.cluster.start()
        self.check_all_heard(self.listener, self.writer)

    def test_no_majority(self) -> None:
        """While one of three members is left, which cannot answer, nothing is lost."""
        victim = self.used()
        others = [member for member in self.cluster.members if member is not victim]
        with self.writer.writing():
            self.listener.wait_for_more()
            for member in others:
                member.stop()
            wait_until(lambda: not victim.answers(), "there is no majority")
            for member in others:
                member.start()
            self.listener.wait_for_more()
        self.check_all_heard(self.listener, self.writer)

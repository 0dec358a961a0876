"""Tests of a devlxd whose connections to a real etcd are cut, or pass nothing on."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Callable

from tests.integration.etcd_cases import KEY, PREFIX, EtcdTestCase
from tests.integration.etcd_client import putting
from tests.integration.etcd_writer import CountingWriter, document
from tests.integration.guest_listener import gaps
from tests.integration.processes import wait_until

#: How many faults follow each other in `ConnectionTests.test_many`.
FAULTS = 25

#: The size of large documents, in bytes: etcd accepts 1.5 MiB.
LARGE = 1_500_000


class ConnectionTests(EtcdTestCase):
    """One member of etcd behind a relay, and a guest that listens."""

    def setUp(self) -> None:
        super().setUp()
        self.member = self.start_member()
        self.relay = self.start_relay(self.member)
        self.writer = CountingWriter([self.member.client], KEY)
        self.writer.write()
        self.serve(self.relay.path)
        self.listener = self.listen()

    def check_no_gap(self) -> None:
        """Check that what was heard has no gap, nothing twice, and the right end."""
        self.listener.wait_for(self.writer.number)
        self.writer.write()
        self.listener.wait_for(self.writer.number)
        heard = self.listener.heard
        self.assertEqual(heard[0][0], "1")
        self.assertEqual(gaps(heard), [])
        self.assertEqual(
            [new for _, new in heard], sorted({new for _, new in heard}, key=int)
        )
        self.wait_for_value(self.writer.number)

    def test_cut(self) -> None:
        """Changes while there is no connection are heard one by one afterwards."""
        self.relay.cut()
        self.writer.write(2500)
        self.assertEqual(self.value(), (200, "1"))
        self.relay.join()
        self.check_all_heard(self.listener, self.writer)

    def test_cut_often(self) -> None:
        """Connections that end while changes come lose none, and double none."""
        with self.writer.writing(0.001):
            for _ in range(10):
                self.listener.wait_for_more()
                self.relay.close_connections()
        self.check_all_heard(self.listener, self.writer)

    def test_swallowed(self) -> None:
        """Connections that are silent for ever are found out."""
        self.relay.swallow()
        self.writer.write(10)
        self.check_all_heard(self.listener, self.writer)

    def test_swallowed_watch(self) -> None:
        """A watch that is silent for ever is found out, although etcd answers else."""
        for _ in range(2):
            self.relay.swallow_requests(b"/v3/watch")
            self.writer.write(10)
            self.listener.wait_for(self.writer.number)
        self.check_all_heard(self.listener, self.writer)

    def test_nothing_answers(self) -> None:
        """While nothing answers, guests are served; nothing is lost."""
        self.relay.swallow(new=True)
        self.writer.write(10)
        # devlxd has given up the connections that it had, and tried others.
        wait_until(lambda: self.relay.ended() > 1, "devlxd has given up twice")
        self.assertEqual(self.value(), (200, "1"))
        self.relay.close_connections()
        self.relay.join()
        self.check_all_heard(self.listener, self.writer)

    def test_compacted(self) -> None:
        """After a compaction the difference is heard, and nothing twice."""
        for _ in range(3):
            self.relay.cut()
            self.writer.write(50)
            self.member.client.compact(self.member.client.get(KEY).revision)
            self.relay.join()
            self.check_no_gap()

    def test_compacted_behind(self) -> None:
        """A devlxd that has stopped is behind a compaction when it goes on."""
        other = f"{PREFIX}c2"
        self.member.client.put(other, document(0))
        self.devlxd.send_signal(signal.SIGSTOP)
        for number in range(400):
            self.writer.write()
            text = document(number, {"user.large": "x" * 100_000})
            self.member.client.put(other, text)
        self.member.client.compact(self.member.client.get(other).revision)
        self.writer.write()
        self.devlxd.send_signal(signal.SIGCONT)
        self.check_no_gap()

    def test_large(self) -> None:
        """Documents that are almost too large for etcd are listed, and watched."""
        large = {"user.large": "x" * LARGE}
        for number in range(15):
            self.member.client.put(f"{PREFIX}large{number}", document(0, large))
        # From here on only the number changes: an event has both values.
        writer = CountingWriter([self.member.client], KEY, large).after(self.writer)
        writer.write()
        self.listener.wait_for(writer.number)
        self.relay.cut()
        writer.write(15)
        self.relay.join()
        self.check_all_heard(self.listener, writer)
        self.stop_serving(self.devlxd)
        self.serve(self.relay.path)
        self.wait_for_value(writer.number)

    def test_transactions(self) -> None:
        """What changes together with many others, and with other hosts, is heard."""
        operations = [putting(f"{PREFIX}o{n}", document(0)) for n in range(60)]
        operations += [putting(f"/devlxd/h10/o{n}", document(0)) for n in range(60)]
        for number in range(2, 20):
            self.member.client.change(*operations, putting(KEY, document(number)))
            self.writer.start_again(number)
        self.check_all_heard(self.listener, self.writer)

    def test_many(self) -> None:
        """Faults in any order, while changes come: each change is heard once."""
        seed = random.randrange(2**32)
        sys.stdout.write(f"\nseed {seed}\n")
        chance = random.Random(seed)
        faults: list[Callable[[], None]] = [
            self.relay.close_connections,
            self.cut,
            self.restart_member,
            self.delay,
        ]
        with self.writer.writing(0.002):
            for _ in range(FAULTS):
                chance.choice(faults)()
                if chance.random() < 0.7:
                    self.listener.wait_for_more()
        self.check_all_heard(self.listener, self.writer)

    def cut(self) -> None:
        """Refuse connections until some changes have come."""
        self.relay.cut()
        self.wait_for_changes()
        self.relay.join()

    def delay(self) -> None:
        """Let etcd hang until it goes on."""
        self.member.send_signal(signal.SIGSTOP)
        wait_until(lambda: self.value()[0] == 200, "the guest is served")
        self.member.send_signal(signal.SIGCONT)

    def wait_for_changes(self) -> None:
        """Wait until the container has changed a few times."""
        number = self.writer.number + 5
        wait_until(lambda: self.writer.number > number, "changes")

    def restart_member(self) -> None:
        """Kill etcd, and start it again."""
        self.member.stop()
        self.member.start()
        self.member.wait()

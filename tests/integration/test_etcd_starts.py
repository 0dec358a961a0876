"""Tests of a devlxd that starts while its real etcd is away, or changes meanwhile."""

from __future__ import annotations

import signal

from tests.integration.etcd_cases import AT_ONCE, KEY, EtcdTestCase
from tests.integration.etcd_writer import CountingWriter, document
from tests.integration.guest_listener import gaps

#: That of a container which is not the one of `CountingWriter`.
OTHER_UUID = "7f1f6e0e-3c57-4f8e-9d0b-1d8f8b6c2a22"

#: The status of a response to a guest whose container is not known yet.
UNKNOWN = 500


class StartTests(EtcdTestCase):
    """One member of etcd behind a relay; devlxd is started in the tests."""

    def setUp(self) -> None:
        super().setUp()
        self.member = self.start_member()
        self.relay = self.start_relay(self.member)
        self.writer = CountingWriter([self.member.client], KEY)
        self.writer.write()

    def run_once(self, number: int = signal.SIGTERM) -> None:
        """Let devlxd read the container, hear a change, and end by a signal."""
        self.serve(self.relay.path)
        self.listener = self.listen()
        self.writer.write()
        self.listener.wait_for(self.writer.number)
        self.stop_serving(self.devlxd, number)

    def start_without_etcd(self) -> None:
        """Change the container while devlxd and etcd are away; start devlxd."""
        self.relay.cut()
        self.writer.write(20)
        self.serve(self.relay.path)

    def check_once(self) -> None:
        """Check that the guest hears of the last change, nothing twice, and no gap."""
        self.listener.wait_for(self.writer.number)
        self.writer.write()
        self.listener.wait_for(self.writer.number)
        heard = self.listener.heard
        self.assertEqual(gaps(heard), [])
        numbers = [int(new) for _, new in heard]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.wait_for_value(self.writer.number)

    def test_kept(self) -> None:
        """What was read before is served; each change meanwhile is heard later."""
        self.run_once()
        known = self.writer.number
        self.start_without_etcd()
        self.assertEqual(self.value(), (200, str(known)))
        self.listener.listen()
        self.relay.join()
        self.check_all_heard(self.listener, self.writer)

    def test_changed_meanwhile(self) -> None:
        """Each change while devlxd does not run is heard."""
        self.run_once()
        self.writer.write(20)
        self.serve(self.relay.path)
        self.wait_until_known()
        self.listener.listen()
        self.check_all_heard(self.listener, self.writer)

    def test_kept_after_kill(self) -> None:
        """A devlxd that was killed may have kept less than guests have heard."""
        self.run_once()
        for _ in range(3):
            self.serve(self.relay.path)
            self.wait_until_known()
            self.listener.listen()
            self.writer.write(5)
            self.listener.wait_for(self.writer.number)
            self.stop_serving(self.devlxd, signal.SIGKILL)
            self.start_without_etcd()
            self.wait_until_known()
            self.listener.listen()
            self.relay.join()
            self.check_once()
            self.stop_serving(self.devlxd)

    def test_nothing_kept(self) -> None:
        """Without etcd and without its last state nothing is known, until it is there.

        Events from before are not forgotten meanwhile.
        """
        self.run_once()
        self.relay.cut()
        for path in (self.home / "state").glob("*.kept*"):
            path.unlink()
        devlxd = self.serve(self.relay.path, options=AT_ONCE)
        self.assertEqual(self.value()[0], UNKNOWN)
        devlxd.check_running()
        self.relay.join()
        self.wait_for_value(self.writer.number)
        self.listener.listen()
        self.check_once()

    def test_never_there(self) -> None:
        """devlxd starts before etcd does."""
        self.member.stop()
        self.serve(self.member.socket, options=AT_ONCE)
        self.assertEqual(self.value()[0], UNKNOWN)
        self.member.start()
        self.member.wait()
        self.wait_for_value(1)
        self.check_all_heard(self.listen(), self.writer)

    def test_removed_meanwhile(self) -> None:
        """Another container with the name of a removed one has none of its events."""
        self.run_once()
        self.member.client.delete(KEY)
        config = {"volatile.uuid": OTHER_UUID}
        self.member.client.put(KEY, document(1000, config))
        self.serve(self.relay.path)
        self.wait_for_value(1000)
        self.listener.listen()
        self.member.client.put(KEY, document(1001, config))
        self.listener.wait_for(1001)
        self.assertEqual(self.listener.heard[-1], ("1000", "1001"))
        self.assertEqual(self.listener.other[0]["type"], "lost")

    def test_restarts(self) -> None:
        """Over restarts of devlxd the guest's view has no gap, and the right end."""
        self.run_once()
        for number in (signal.SIGKILL, signal.SIGTERM) * 3:
            with self.writer.writing():
                self.serve(self.relay.path)
                self.wait_until_known()
                self.listener.listen()
                self.listener.wait_for_more()
                self.stop_serving(self.devlxd, number)
        self.serve(self.relay.path)
        self.wait_until_known()
        self.listener.listen()
        self.check_once()

"""Tests of a devlxd whose etcd gets another past behind its back, or no more space."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

from tests.integration.etcd_cases import KEY, PREFIX, EtcdTestCase
from tests.integration.etcd_client import EtcdError
from tests.integration.etcd_writer import CountingWriter, document
from tests.integration.guest_listener import gaps, over
from tests.integration.processes import wait_until

#: The code of etcd for a database that is full.
EXHAUSTED = 8

#: The size of the full database, in bytes.
QUOTA = 2 * 2**20

#: How often the container is changed before devlxd starts.
BEFORE = 5


class PastsTestCase(EtcdTestCase):
    """A base class with one member of etcd, ten containers, and a listening guest."""

    options: tuple[str, ...] = ()

    def setUp(self) -> None:
        super().setUp()
        self.member = self.start_member(*self.options)
        self.relay = self.start_relay(self.member)
        self.writer = CountingWriter([self.member.client], KEY)
        self.writer.write(BEFORE)
        for number in range(2, 11):
            self.member.client.put(f"{PREFIX}c{number}", document(0))
        self.serve(self.relay.path, options=[f"--admin={self.home}/admin"])
        self.listener = self.listen()

    def names(self) -> set[str]:
        """Return the names of the containers that devlxd knows."""
        connection = HTTPConnection("devlxd")
        connection.sock = over(f"{self.home}/admin/sock")()
        connection.request("GET", "/containers")
        with connection.getresponse() as response:
            known: list[dict[str, Any]] = json.load(response)
        connection.close()
        return {one["name"] for one in known}

    def wait_for_names(self, *names: str) -> None:
        """Wait until devlxd knows exactly these containers."""
        wait_until(lambda: self.names() == set(names), f"only {names} are known")

    def check_no_gap(self) -> None:
        """Check that the guest hears of the latest change, and reads it."""
        self.listener.wait_for(self.writer.number)
        self.assertEqual(gaps(self.listener.heard), [])
        self.assertEqual(len(set(self.listener.heard)), len(self.listener.heard))
        self.wait_for_value(self.writer.number)

    @contextmanager
    def unseen(self) -> Iterator[None]:
        """Keep devlxd and etcd apart meanwhile."""
        self.relay.cut()
        yield
        self.relay.join()


class PastsTests(PastsTestCase):
    """etcd is wiped or restored; its ids stay the same."""

    def wipe(self) -> None:
        """Let etcd begin anew with the same options."""
        self.member.stop()
        self.member.wipe()
        self.member.start()
        self.member.wait()

    def test_wiped(self) -> None:
        """The new etcd has fewer containers, another value and a low revision."""
        with self.unseen():
            self.wipe()
            self.writer.start_again(1000)
            self.writer.write()
        self.wait_for_names("c1")
        self.check_no_gap()
        self.writer.write(100)
        self.check_no_gap()

    def test_wiped_and_ahead(self) -> None:
        """The new etcd has passed the old revision when devlxd connects again."""
        revision = self.member.client.get(KEY).revision
        with self.unseen():
            self.wipe()
            self.writer.start_again(1000)
            self.writer.write(revision + 100)
        self.wait_for_names("c1")
        self.check_no_gap()

    def test_wiped_to_nothing(self) -> None:
        """An empty etcd has no containers: the guest's stream ends."""
        self.wipe()
        self.wait_for_names()
        wait_until(lambda: self.listener.has_ended, "the stream ends")
        self.assertEqual(self.listener.heard[-1][1], "")
        self.writer.start_again(1000)
        self.writer.write()
        self.wait_for_names("c1")
        self.listener = self.listen()
        self.check_all_heard(self.listener, self.writer, 1001)

    def test_restored(self) -> None:
        """What was after the snapshot is gone, and what was removed is back."""
        snapshot = self.member.save()
        self.member.client.put(f"{PREFIX}new", document(0))
        self.member.client.delete(f"{PREFIX}c2")
        self.writer.write(20)
        kept = {f"c{number}" for number in (1, *range(3, 11))}
        self.wait_for_names(*kept, "new")
        self.listener.wait_for(self.writer.number)
        self.member.stop()
        self.member.restore(snapshot)
        self.member.start()
        self.member.wait()
        self.wait_for_names(*kept, "c2")
        self.wait_for_value(BEFORE)
        self.writer.start_again(1000)
        self.writer.write(10)
        self.check_no_gap()

    def test_restored_alike(self) -> None:
        """Only the values tell the restored past from the one that was heard."""
        snapshot = self.member.save()
        self.writer.write(20)
        self.listener.wait_for(self.writer.number)
        before = self.member.client.get(KEY)
        with self.unseen():
            self.member.stop()
            self.member.restore(snapshot)
            self.member.start()
            self.member.wait()
            self.writer.start_again(1000)
            self.writer.write(20)
            self.assertEqual(self.member.client.get(KEY).revision, before.revision)
        self.check_no_gap()
        self.writer.write(10)
        self.check_no_gap()


class QuotaTests(PastsTestCase):
    """etcd has no more space."""

    options = (f"--quota-backend-bytes={QUOTA}",)

    def fill(self) -> None:
        """Change the container until etcd is full of other keys."""
        number = self.writer.number
        try:
            while True:
                self.member.client.put(f"/other/{number}", "x" * 20_000)
                self.member.client.put(KEY, document(number + 1))
                number += 1
        except EtcdError as error:
            self.assertEqual(error.code, EXHAUSTED)
        self.writer.start_again(number)

    def test_full(self) -> None:
        """Changes before, meanwhile and afterwards are heard once."""
        client = self.member.client
        self.fill()
        self.listener.wait_for(self.writer.number)
        # Removals are still possible.
        client.delete(f"{PREFIX}c2")
        wait_until(lambda: "c2" not in self.names(), "the removal is known")
        with self.unseen():
            client.delete(f"{PREFIX}c3")
        wait_until(lambda: "c3" not in self.names(), "the removal is known")
        client.compact(client.delete("/other/", "/other0"))
        self.member.control("defrag")
        self.member.control("alarm", "disarm")
        self.check_all_heard(self.listener, self.writer, BEFORE)

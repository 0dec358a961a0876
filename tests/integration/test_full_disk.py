"""Tests of a real twistd with a full disk or a damaged journal."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote

from tests.events.test_journal_damage import DAMAGES
from tests.integration.lxc import make_home, missing_requirement
from tests.integration.processes import TIMEOUT, ProcessTestCase, run, wait_until
from tests.integration.servers import DevLXD

#: What devlxd logs when it cannot write events, when it can again, and when it
#: finds a damaged journal.
NOT_RECORDED = "not recorded"
RECORDED_AGAIN = "recorded again"
DAMAGED = "is damaged"

#: A timestamp before every event.
BEGINNING = "1970-01-01T00:00:00Z"


class Subscriber:
    """A guest that has subscribed to events.

    :ivar timestamp: the time from which it receives events.
    """

    def __init__(self, path: str, since: str = "") -> None:
        self._connection = HTTPConnection("lxd")
        self._connection.sock = socket.socket(socket.AF_UNIX)
        self._connection.sock.settimeout(TIMEOUT)
        self._connection.sock.connect(path)
        self._connection.request("GET", f"/1.0/events?since={quote(since)}")
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.status
        self.timestamp = self._response.headers["X-Devlxd-Timestamp"]

    def close(self) -> None:
        """Close the connection."""
        self._response.close()
        self._connection.close()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield each event until the stream ends."""
        while line := self._response.readline():
            if line.strip():
                yield json.loads(line)


class StateTestCase(ProcessTestCase):
    """A base class with one container, and a directory for devlxd's state."""

    skip = missing_requirement()

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        self.documents = self.home / "documents"
        self.state = self.home / "state"
        for directory in (self.documents, self.state):
            directory.mkdir()
        self.document = self.documents / "c1.json"
        self.count = 0
        self.stopped: list[DevLXD] = []
        self.config: dict[str, str] = {}
        self.write()

    def start(self) -> DevLXD:
        """Start devlxd."""
        devlxd = DevLXD(
            f"--containers={self.documents}",
            f"--listen=unix:{self.home}/sock",
            f"--state={self.state}",
            "--assume=c1",
        )
        self.addCleanup(self.stop, devlxd)
        return devlxd

    def stop(self, devlxd: DevLXD) -> None:
        """Stop a devlxd if it runs, and check its exit status and its log."""
        if devlxd not in self.stopped:
            self.stopped.append(devlxd)
            self.assertEqual(devlxd.stop(), -signal.SIGTERM)
            self.assertNotIn("Traceback", "".join(devlxd.log))

    def write(self, **config: str) -> None:
        """Add keys to the container's document."""
        self.config.update({f"user.{key}": value for key, value in config.items()})
        path = self.documents / ".new"
        path.write_text(json.dumps({"config": self.config}))
        path.rename(self.document)

    def subscribe(self, since: str = "") -> Subscriber:
        """Subscribe to events."""
        subscriber = Subscriber(f"{self.home}/sock", since)
        self.addCleanup(subscriber.close)
        return subscriber

    def mark(self) -> str:
        """Change the key ``user.mark``; return its new value."""
        self.count += 1
        self.write(mark=str(self.count))
        return str(self.count)

    def receive(self, subscriber: Subscriber) -> list[dict[str, Any]]:
        """Return the events that were sent until now.

        The end is an event of ``user.mark``, which is not returned.
        """
        mark = self.mark()
        received: list[dict[str, Any]] = []
        for event in subscriber:
            if event["metadata"].get("key") == "user.mark":
                if event["metadata"]["value"] == mark:
                    return received
                continue
            received.append(event)
            if event["type"] == "lost":
                # The event of the mark may be lost as well.
                mark = self.mark()
        raise AssertionError(f"the stream has ended: {received}")

    def replayed(self, since: str) -> list[str]:
        """Return the replayed events: the value of each, or its type."""
        events = self.receive(self.subscribe(since))
        return [event["metadata"].get("value", event["type"]) for event in events]


class FullDiskTests(StateTestCase):
    """devlxd with its state on a disk of 2 MiB."""

    def setUp(self) -> None:
        super().setUp()
        mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs"]
        run(*mount, str(self.state))
        self.addCleanup(run, "umount", str(self.state))
        self.filler = self.state / "filler"

    def fill(self) -> None:
        """Fill the disk with a file."""
        with self.filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def test_recreated_container(self) -> None:
        """A new container does not receive the events of a removed one of its name."""
        devlxd = self.start()
        self.write(secret="old")
        live = self.subscribe()
        for number in range(10):
            self.write(secret=f"old {number}")
            self.receive(live)
        self.fill()
        self.document.unlink()
        self.assertIn("", [event["metadata"]["value"] for event in live])
        self.config = {}
        self.write(name="new")
        wait_until(self.is_served, "the new container is served")
        self.assertEqual(self.replayed(BEGINNING)[:1], ["lost"])
        for full in (True, False):
            self.stop(devlxd)
            if not full:
                self.filler.unlink()
            devlxd = self.start()
            replayed = self.replayed(BEGINNING)
            self.assertEqual(replayed[:1], ["lost"])
            self.assertNotIn("old", "".join(replayed))

    def is_served(self) -> bool:
        """Return whether the container can subscribe."""
        with contextlib.suppress(AssertionError):
            self.subscribe()
            return True
        return False

    def test_full_at_start(self) -> None:
        """With no journal and no space for one, devlxd starts and sends events."""
        self.fill()
        devlxd = self.start()
        live = self.subscribe()
        self.write(a="1")
        self.assertEqual(self.values(self.receive(live)), ["1"])
        self.assertEqual(self.replayed(live.timestamp)[:1], ["lost"])
        self.filler.unlink()
        devlxd.wait_for(RECORDED_AGAIN)
        log = "".join(devlxd.log)
        self.assertEqual(log.count(NOT_RECORDED), 1, log)
        since = self.subscribe().timestamp
        self.write(a="2")
        self.receive(live)
        self.stop(devlxd)
        self.start()
        self.assertEqual(self.replayed(since), ["2"])

    def values(self, events: list[dict[str, Any]]) -> list[str]:
        """Return the new values in config events."""
        return [event["metadata"]["value"] for event in events]

    def test_full_and_freed(self) -> None:
        """``lost`` replaces events that were not written; later ones are replayed."""
        devlxd = self.start()
        live = self.subscribe()
        self.write(a="1")
        self.receive(live)
        since = self.subscribe().timestamp
        self.fill()
        for number in range(50):
            self.write(a=str(number) * 5_000)
            self.receive(live)
        self.assertIn(NOT_RECORDED, "".join(self.log_of(devlxd)))
        self.assertEqual(self.replayed(since)[:1], ["lost"])
        self.filler.unlink()
        devlxd.wait_for(RECORDED_AGAIN)
        since = self.subscribe().timestamp
        self.write(a="2")
        self.assertEqual(self.values(self.receive(live)), ["2"])
        self.assertEqual(self.replayed(since), ["2"])
        self.stop(devlxd)
        self.start()
        self.assertEqual(self.replayed(since), ["2"])
        self.assertEqual(self.replayed(BEGINNING)[:1], ["lost"])

    def log_of(self, devlxd: DevLXD) -> list[str]:
        """Wait until devlxd logs that events are not recorded; return the log."""
        devlxd.wait_for(NOT_RECORDED)
        return devlxd.log


class DamagedTests(StateTestCase):
    """A journal with a damaged file."""

    def test_damaged(self) -> None:
        """devlxd starts, logs the damage once, and sends ``lost`` and new events."""
        for name, damage in DAMAGES.items():
            devlxd = self.start()
            live = self.subscribe()
            written = [f"{n}" * 2000 for n in range(100, 150)]
            for text in written:
                self.write(a=text)
                self.receive(live)
            since = live.timestamp
            self.stop(devlxd)
            (path,) = self.state.glob("*.sqlite")
            damage(path)
            devlxd = self.start()
            replayed = self.replayed(since)
            self.assertIn("lost", replayed, name)
            self.assertLessEqual(set(replayed), {"lost", *written}, name)
            self.assertEqual(len(list(self.state.glob("*.damaged-*T??????"))), 1, name)
            since = self.subscribe().timestamp
            self.write(a=name)
            self.assertEqual(self.replayed(since), [name])
            self.stop(devlxd)
            log = "".join(devlxd.log)
            self.assertEqual(log.count(DAMAGED), 1, name)
            self.assertNotIn(NOT_RECORDED, log)
            for path in self.state.glob("*.damaged-*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

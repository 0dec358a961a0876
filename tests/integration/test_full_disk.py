"""A disk that is full, and a journal that is damaged, with the real twistd."""

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

from tests.events.test_journal import DAMAGES
from tests.integration.lxc import DevLXD, make_home, missing_requirement
from tests.integration.processes import TIMEOUT, ProcessTestCase, run, wait_until

#: A time before everything.
BEGINNING = "1970-01-01T00:00:00Z"


class Events:
    """A guest that listens.

    :ivar timestamp: from when on it does.
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
        """Hang up."""
        self._response.close()
        self._connection.close()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Return each event until the stream ends."""
        while line := self._response.readline():
            if line.strip():
                yield json.loads(line)


class StateTestCase(ProcessTestCase):
    """Has a devlxd with one container, and the directory for its state."""

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
        """Stop it, once, and look at what it has logged."""
        if devlxd not in self.stopped:
            self.stopped.append(devlxd)
            self.assertEqual(devlxd.stop(), -signal.SIGTERM)
            self.assertNotIn("Traceback", "".join(devlxd.log))

    def write(self, **config: str) -> None:
        """Change the container's document."""
        self.config.update({f"user.{key}": value for key, value in config.items()})
        path = self.documents / ".new"
        path.write_text(json.dumps({"config": self.config}))
        path.rename(self.document)

    def listen(self, since: str = "") -> Events:
        """Listen."""
        events = Events(f"{self.home}/sock", since)
        self.addCleanup(events.close)
        return events

    def mark(self) -> str:
        """Let something happen; return what."""
        self.count += 1
        self.write(mark=str(self.count))
        return str(self.count)

    def hear(self, events: Events) -> list[dict[str, Any]]:
        """Return what was told until something happens that we do now."""
        mark = self.mark()
        heard: list[dict[str, Any]] = []
        for event in events:
            if event["metadata"].get("key") == "user.mark":
                if event["metadata"]["value"] == mark:
                    return heard
                continue
            heard.append(event)
            if event["type"] == "lost":
                # The mark may be part of that.
                mark = self.mark()
        raise AssertionError(f"it ended: {heard}")

    def told(self, since: str) -> list[str]:
        """Return what who asks for the past is told: types, or values."""
        heard = self.hear(self.listen(since))
        return [event["metadata"].get("value", event["type"]) for event in heard]


class FullDiskTests(StateTestCase):
    """The directory for the state is on a disk of 2 MiB."""

    def setUp(self) -> None:
        super().setUp()
        mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs"]
        run(*mount, str(self.state))
        self.addCleanup(run, "umount", str(self.state))
        self.filler = self.state / "filler"

    def fill(self) -> None:
        """Let there be no more room on the disk."""
        with self.filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def test_goes_and_comes(self) -> None:
        """Who comes after a container that could not be deleted reads none of it."""
        devlxd = self.start()
        self.write(secret="old")
        live = self.listen()
        for number in range(10):
            self.write(secret=f"old {number}")
            self.hear(live)
        self.fill()
        self.document.unlink()
        self.assertIn("", [event["metadata"]["value"] for event in live])
        self.config = {}
        self.write(name="new")
        wait_until(self.is_served, "the new container is served")
        self.assertEqual(self.told(BEGINNING)[:1], ["lost"])
        for full in (True, False):
            self.stop(devlxd)
            if not full:
                self.filler.unlink()
            devlxd = self.start()
            told = self.told(BEGINNING)
            self.assertEqual(told[:1], ["lost"])
            self.assertNotIn("old", "".join(told))

    def is_served(self) -> bool:
        """Tell whether the container has come back."""
        with contextlib.suppress(AssertionError):
            self.listen()
            return True
        return False

    def test_full_at_start(self) -> None:
        """Without a file, and without room for one, it starts and tells events."""
        self.fill()
        devlxd = self.start()
        live = self.listen()
        self.write(a="1")
        self.assertEqual(self.values(self.hear(live)), ["1"])
        self.assertEqual(self.told(live.timestamp)[:1], ["lost"])
        self.filler.unlink()
        devlxd.wait_for("remembered again")
        log = "".join(devlxd.log)
        self.assertEqual(log.count("not remembered"), 1, log)
        since = self.listen().timestamp
        self.write(a="2")
        self.hear(live)
        self.stop(devlxd)
        self.start()
        self.assertEqual(self.told(since), ["2"])

    def values(self, events: list[dict[str, Any]]) -> list[str]:
        """Return the values of events."""
        return [event["metadata"]["value"] for event in events]

    def test_full_and_freed(self) -> None:
        """What could not be written is told as lost, at once; what comes is not."""
        devlxd = self.start()
        live = self.listen()
        self.write(a="1")
        self.hear(live)
        since = self.listen().timestamp
        self.fill()
        for number in range(50):
            self.write(a=str(number) * 5_000)
            self.hear(live)
        self.assertIn("not remembered", "".join(self.log_of(devlxd)))
        self.assertEqual(self.told(since)[:1], ["lost"])
        self.filler.unlink()
        devlxd.wait_for("remembered again")
        since = self.listen().timestamp
        self.write(a="2")
        self.assertEqual(self.values(self.hear(live)), ["2"])
        self.assertEqual(self.told(since), ["2"])
        self.stop(devlxd)
        self.start()
        self.assertEqual(self.told(since), ["2"])
        self.assertEqual(self.told(BEGINNING)[:1], ["lost"])

    def log_of(self, devlxd: DevLXD) -> list[str]:
        """Return what it has logged until now."""
        devlxd.wait_for("not remembered")
        return devlxd.log


class DamagedTests(StateTestCase):
    """A journal that is not what was written."""

    def test_damaged(self) -> None:
        """It starts, says so once, and tells what is lost, and what happens."""
        for name, damage in DAMAGES.items():
            devlxd = self.start()
            live = self.listen()
            written = [f"{n}" * 2000 for n in range(100, 150)]
            for text in written:
                self.write(a=text)
                self.hear(live)
            since = live.timestamp
            self.stop(devlxd)
            (path,) = self.state.glob("*.sqlite")
            damage(path)
            devlxd = self.start()
            told = self.told(since)
            self.assertIn("lost", told, name)
            self.assertLessEqual(set(told), {"lost", *written}, name)
            self.assertEqual(len(list(self.state.glob("*.damaged-*T??????"))), 1, name)
            since = self.listen().timestamp
            self.write(a=name)
            self.assertEqual(self.told(since), [name])
            self.stop(devlxd)
            log = "".join(devlxd.log)
            self.assertEqual(log.count("is damaged"), 1, name)
            self.assertNotIn("not remembered", log)
            for path in self.state.glob("*.damaged-*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

"""Tests that programs in a guest hear of each change, whatever is restarted."""

from __future__ import annotations

import json
import random
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.integration.lxc import (
    LXCContainer,
    make_home,
    missing_requirement,
    unique_name,
)
from tests.integration.nested import CHECKOUT, program_paths
from tests.integration.processes import ProcessTestCase, wait_until
from tests.integration.servers import TWISTD, ServerProcess

#: How many keys are added one after the other in a phase. devlxd keeps more events than
#: these for a guest that is away.
CHANGES = 100

#: How many phases there are: 2000 changes.
PHASES = 20

UUID = "0ba5bd2e-5d4a-4f0c-9d5c-3e0c5f9c1a11"

#: Where the guest writes each event: a timestamp, and the key or the type.
RUN_SHARED = "/run/shared"

#: Keeps events in the file that is the argument, and continues after its last line.
RECORD = """
import sys

file = open(sys.argv[1], "a+")
file.seek(0)
lines = file.readlines()
since = lines[-1].split()[0] if lines else None

def write(timestamp, what):
    file.write(f"{timestamp} {what}\\n")
    file.flush()

def begin(timestamp):
    if not lines:
        write(timestamp, "-")

def keep(event):
    write(event.timestamp, event.metadata.get("key", event.type))
"""

#: Listens with the synchronous guest.
SYNC = f"""{RECORD}
from devlxd.client.sync import Guest

for event in Guest().events(since=since, on_position=begin):
    keep(event)
"""

#: Listens with the guest for Twisted.
ASYNC = f"""{RECORD}
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react
from devlxd.client import Guest

async def main(reactor):
    async for event in Guest(reactor).events(since=since, on_position=begin):
        keep(event)

react(lambda reactor: ensureDeferred(main(reactor)))
"""

#: What the command runs for each event.
HOOK = 'echo "$DEVLXD_TIMESTAMP ${DEVLXD_KEY-$DEVLXD_TYPE}" >>/run/shared/command'

DEVLXD = str(Path(sys.executable).with_name("devlxd"))

#: The programs in the guest, by the names of their files.
LISTENERS = {
    "command": (DEVLXD, "events", "--state=/run/shared/state", f"--exec={HOOK}"),
    "sync": (sys.executable, "-c", SYNC, "/run/shared/sync"),
    "async": (sys.executable, "-c", ASYNC, "/run/shared/async"),
}


class ListenerTests(ProcessTestCase):
    """The command and both faces of the library, in a real container."""

    skip = missing_requirement()

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        for name in ("documents", "lxd", "shared", "state"):
            (self.home / name).mkdir()
        (self.home / "shared").chmod(0o777)
        binds = {
            self.home / "lxd": "dev/lxd",
            self.home / "shared": RUN_SHARED.lstrip("/"),
            **{path: str(path).lstrip("/") for path in program_paths()},
        }
        # Privileged: others may not enter the directories of some Pythons.
        self.container = LXCContainer(unique_name("c"), self.home, 0, binds)
        self.keys: list[str] = []
        self.write()
        self.start()
        self.addCleanup(self.stop)
        self.container.start()
        self.addCleanup(self.container.stop)
        self.pool = ThreadPoolExecutor()
        self.addCleanup(self.pool.shutdown, wait=False)

    def start(self) -> None:
        """Start devlxd."""
        self.devlxd = ServerProcess(
            *(TWISTD, "-n", "--pidfile=", "devlxd"),
            f"--containers={self.home}/documents",
            f"--listen={self.home}/lxd",
            f"--state={self.home}/state",
        )

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop the devlxd that runs now."""
        self.devlxd.stop(number)

    def write(self) -> None:
        """Replace the document by one with all keys."""
        new = self.home / "new"
        # By its uuid the container is known to be the same, although the file is not.
        config = {"volatile.uuid": UUID, **dict.fromkeys(self.keys, "1")}
        new.write_text(json.dumps({"config": config}))
        new.rename(self.home / "documents" / f"{self.container.name}.json")

    def add_keys(self) -> None:
        """Add keys, each by a change of its own."""
        for _ in range(CHANGES):
            self.keys.append(f"user.key{len(self.keys):05}")
            self.write()

    def listen(self) -> None:
        """Start the listeners in the guest."""
        for command in LISTENERS.values():
            self.pool.submit(
                self.container.run, "env", f"PYTHONPATH={CHECKOUT}", *command
            )

    def heard(self, listener: str) -> Sequence[str]:
        """Return what a listener has heard of, without its first position."""
        path = self.home / "shared" / listener
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.split()[1] for line in lines if not line.endswith(" -")]

    def wait_for_listeners(self) -> None:
        """Wait until the listeners have heard of the last change."""
        for listener in LISTENERS:
            wait_until(
                lambda name=listener: self.heard(name)[-1:] == self.keys[-1:],  # type: ignore[misc] # the name of this turn
                f"{listener} has heard of {self.keys[-1]}",
            )

    def restart(self, number: int) -> Callable[[], None]:
        """Return what ends devlxd by a signal, and starts it again."""

        def restart() -> None:
            self.stop(number)
            self.start()

        return restart

    def reboot(self) -> None:
        """Restart the guest: everything in it is killed."""
        self.container.shut_down()
        self.container.boot()
        self.listen()

    def test_restarts(self) -> None:
        """Each change is heard of once and in order, over restarts and a reboot.

        Only a command that is killed may run again for one event.
        """
        self.listen()
        for name in ("state", "sync", "async"):
            path = self.home / "shared" / name
            wait_until(lambda at=path: at.exists() and at.stat().st_size, f"{path}")  # type: ignore[misc] # as above
        ends = [self.restart(signal.SIGTERM), self.restart(signal.SIGKILL)] * 9
        actions = [*random.sample(ends, len(ends)), self.reboot, lambda: None]
        self.assertEqual(len(actions), PHASES)
        random.shuffle(actions)
        for action in actions:
            adding = self.pool.submit(self.add_keys)
            action()
            adding.result()
            self.wait_for_listeners()
        self.assertEqual(len(self.keys), 2000)
        self.assertEqual(self.heard("sync"), self.keys)
        self.assertEqual(self.heard("async"), self.keys)
        heard = self.heard("command")
        once = list(dict.fromkeys(heard))
        self.assertEqual(once, self.keys)
        self.assertLessEqual(len(heard), len(once) + 1)
        sys.stdout.write(
            f"\n{len(once)} changes, {len(ends)} restarts and a reboot: heard of by "
            f"both guests once, and {len(heard)} times by the command\n"
        )

"""What an operator does: changes documents, and starts and stops containers."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from random import Random

from benchmarks.soaking.client import PATIENCE, MalformedError
from benchmarks.soaking.containers import Guest
from benchmarks.soaking.documents import VERSION, History
from benchmarks.soaking.report import Report, WrongError

#: Texts that are no documents.
BROKEN = ["config: [", "{", "config: {user.a: &x b, user.c: *y}\n", "\0", "a: 'b\n\n"]

#: How many downloads a container may have at a time.
MAX_DOWNLOADS = 3

#: What happens to a container, and how often in proportion.
ACTIONS = {
    "change": 62,
    "change_in_a_row": 14,
    "touch": 6,
    "break_and_repair": 10,
    "end_run": 3,
    "remove_and_add": 3,
    "rename": 2,
}


class Operator:
    """Operates one container.

    :param guest: the container.
    :param directory: the directory of documents.
    :param can_rename: whether the container can get another name.
    :ivar history: the versions of its document.
    :ivar still: a lock that is held while the document changes.
    :ivar ready: a lock that is held while a guest sets its state.
    :ivar downloads: a semaphore that is held during a download.
    """

    def __init__(
        self,
        guest: Guest,
        directory: Path,
        report: Report,
        random: Random,
        can_rename: bool,
    ) -> None:
        self.guest = guest
        self.history = History()
        self.still = asyncio.Lock()
        self.ready = asyncio.Lock()
        self.downloads = asyncio.Semaphore(MAX_DOWNLOADS)
        self._directory = directory
        self._report = report
        self._random = random
        self._can_rename = can_rename
        self._name = guest.name
        self._suffix = "yaml"

    async def start(self) -> None:
        """Write the first version, and start the container."""
        with self._report.counting("starts"):
            self._write_next()
            await self.guest.start()
            await self._settle()

    async def operate(self, pause: float) -> None:
        """Do one thing after the other, until this is cancelled.

        :param pause: the average time between two, in seconds.
        """
        while True:
            await asyncio.sleep(self._random.uniform(0.2, 1.8) * pause)
            (action,) = self._random.choices(list(ACTIONS), list(ACTIONS.values()))
            async with self.still:
                with self._report.counting(f"operator: {action}"):
                    await getattr(self, f"_{action}")()

    async def operate_gently(self, pause: float) -> None:
        """Change the document again and again, until this is cancelled.

        Misdeeds may leave no connection to ask for the version, so nobody does.
        """
        while True:
            await asyncio.sleep(self._random.uniform(0.2, 1.8) * pause)
            self._write_next()

    async def _change(self) -> None:
        self._write_next()
        await self._settle()

    async def _change_in_a_row(self) -> None:
        for _ in range(self._random.randint(2, 6)):
            self._write_next()
            await asyncio.sleep(self._random.choice([0, 0.01, 0.1]))
        await self._settle()

    async def _touch(self) -> None:
        """Write the same version again, perhaps to another file."""
        old, self._suffix = self._path, self._random.choice(["yaml", "json", "yml"])
        self._write(self.history.latest.text(self._suffix))
        if old != self._path:
            old.unlink()

    async def _break_and_repair(self) -> None:
        self._write(self._random.choice(BROKEN))
        await asyncio.sleep(self._random.uniform(0.1, 2))
        await self._change()

    async def _end_run(self) -> None:
        await self.guest.stop()
        await asyncio.sleep(self._random.uniform(0, 2))
        if self._random.random() < 0.5:
            self._write_next()
        await self.guest.start()
        await self._settle()

    async def _remove_and_add(self) -> None:
        self.guest.go_down()
        self._path.unlink()
        await self._wait_until_refused()
        await asyncio.sleep(self._random.uniform(0, 2))
        self.history.incarnation += 1
        self._write_next()
        await self._settle()

    async def _rename(self) -> None:
        if not self._can_rename:
            await self._change()
            return
        await self.guest.stop()
        old, guest = self._path, self.guest
        is_renamed = guest.name != self._name
        guest.name = self._name if is_renamed else f"{self._name}-renamed"
        self.history.incarnation += 1
        old.rename(self._path)
        await guest.start()
        await self._change()

    @property
    def _path(self) -> Path:
        return self._directory / f"{self.guest.name}.{self._suffix}"

    def _write_next(self) -> None:
        version = self.history.latest.changed(self._random)
        self.history.add(version)
        self._write(version.text(self._suffix))

    def _write(self, text: str) -> None:
        if self._random.random() < 0.5:
            self._path.write_text(text)
        else:
            new = self._directory.parent / f"new-{self.guest.name}"
            new.write_text(text)
            os.replace(new, self._path)

    async def _settle(self) -> None:
        """Wait until devlxd answers from the latest version."""
        wanted = self.history.latest.number
        end = time.monotonic() + PATIENCE
        while (answer := await self._version()) != str(wanted):
            if time.monotonic() > end:
                raise WrongError(f"version {wanted} is not visible, but {answer}")
            await asyncio.sleep(0.05)
        self.history.settled = wanted
        self.guest.is_up = True

    async def _wait_until_refused(self) -> None:
        end = time.monotonic() + PATIENCE
        while (answer := await self._version()) != "not in a container\n":
            if time.monotonic() > end:
                raise WrongError(f"the container is not removed: {answer}")
            await asyncio.sleep(0.2)

    async def _version(self) -> str:
        """Ask for the version; return the body, or what is wrong."""
        try:
            async with await self.guest.connect() as client:
                response = await client.ask(f"/1.0/config/{VERSION}")
        except MalformedError:
            raise
        except (EOFError, OSError) as error:
            # Connections are closed when a container is removed.
            return repr(error)
        return response.body.decode()

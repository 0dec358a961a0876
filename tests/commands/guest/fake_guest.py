"""A guest in memory, for tests of the commands that ask the guest API."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator
from os import PathLike
from pathlib import Path
from typing import IO, Any

from devlxd.client.errors import GuestError, NotFound
from devlxd.client.values import Event
from devlxd.commands.guest import asking
from tests.commands.fake_admin import CommandTestCase

#: What happens while a command listens: events that it receives, functions that are
#: called, and errors that end it.
Happening = Event | Callable[[], object] | BaseException


class FakeGuest:
    """The synchronous face of the library, with answers that a test has set.

    :ivar opened: the arguments with which guests were made.
    :ivar error: what every question raises, if it is set.
    :ivar downloaded: the arguments of ``image``, without the progress.
    :ivar files: what ``image`` returns or raises.
    :ivar listened: the arguments of ``events``.
    """

    def __init__(self) -> None:
        self.opened: list[tuple[object, object]] = []
        self.error: GuestError | None = None
        self.members: dict[str, Any] = {"api_version": "1.0", "dialect": "lxd"}
        self.values: dict[str, str] = {}
        self.described: dict[str, dict[str, str]] = {}
        self.yaml = "#cloud-config\n"
        self.is_ready = False
        self.downloaded: list[tuple[str, Path, bool]] = []
        self.files: tuple[Path, ...] | OSError = (Path("image"),)
        self.happenings: list[Happening] = []
        self.position = "2026-11-26T10:00:00Z"
        self.listened: list[tuple[list[str], str | None]] = []

    def open(self, path: str | PathLike[str] | None, timeout: float) -> FakeGuest:
        """Take the place of the constructor of the library's guest."""
        self.opened.append((path, timeout))
        return self

    def _ask(self) -> None:
        if self.error is not None:
            raise self.error

    def info(self) -> dict[str, Any]:
        self._ask()
        return self.members

    def config(self) -> dict[str, str]:
        self._ask()
        return self.values

    def get(self, key: str) -> str:
        self._ask()
        if key not in self.values:
            raise NotFound("not found")
        return self.values[key]

    def devices(self) -> dict[str, dict[str, str]]:
        self._ask()
        return self.described

    def device(self, name: str) -> dict[str, str]:
        self._ask()
        if name not in self.described:
            raise NotFound(f"there is no device {name}")
        return self.described[name]

    def meta_data(self) -> str:
        self._ask()
        return self.yaml

    def ready(self) -> None:
        self._ask()
        self.is_ready = True

    def image(
        self,
        fingerprint: str,
        path: Path,
        progress: Callable[[int, int | None], None] | None,
        replace: bool,
    ) -> tuple[Path, ...]:
        """Say that the files of the test were downloaded."""
        self._ask()
        self.downloaded.append((fingerprint, path, replace))
        if progress is not None:
            progress(500, None)
            progress(1000, 2000)
        if isinstance(self.files, OSError):
            raise self.files
        return self.files

    def events(
        self,
        types: Collection[str] = (),
        since: str | None = None,
        on_position: Callable[[str], object] | None = None,
    ) -> Iterator[Event]:
        """Let everything happen, and then press Ctrl-C."""
        self._ask()
        self.listened.append(([*types], since))
        if on_position is not None:
            on_position(since or self.position)
        for each in self.happenings:
            if isinstance(each, Event):
                yield each
            elif isinstance(each, BaseException):
                raise each
            else:
                each()
        raise KeyboardInterrupt


class GuestCommandTestCase(CommandTestCase):
    """A base class of tests of commands that ask a guest."""

    def setUp(self) -> None:
        super().setUp()
        self.bytes = io.BytesIO()
        self.guest = FakeGuest()
        self.patch(asking, "Guest", self.guest.open)

    def stdout(self) -> IO[str]:
        """See `CommandTestCase.stdout`."""
        return io.TextIOWrapper(self.bytes, encoding="utf-8", write_through=True)

    def printed_bytes(self) -> bytes:
        """Return what was printed since the last call."""
        data = self.bytes.getvalue()
        self.bytes.seek(0)
        self.bytes.truncate()
        return data

    def printed(self) -> str:
        """See `CommandTestCase.printed`."""
        return self.printed_bytes().decode()

    def notes(self) -> list[str]:
        """Return the lines on standard error since the last call."""
        text = self.errors.getvalue()
        self.errors.seek(0)
        self.errors.truncate()
        return text.splitlines()

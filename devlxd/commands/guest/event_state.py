# -*- test-case-name: tests.commands.guest.test_event_state -*-
"""The file that remembers the last event over restarts and reboots."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from devlxd.commands.outcomes import CommandError
from devlxd.timestamps import timestamp_of

#: The version of the file's format.
VERSION = 1

#: The maximum size of the file, in bytes.
_MAX_SIZE = 4096


class _LaterVersion(Exception):
    """The file has a format that this version does not know."""


def _since_of(data: bytes) -> str:
    """Return the timestamp in a file.

    :raises _LaterVersion: if a later devlxd has written it.
    :raises LookupError, RecursionError, TypeError, ValueError: if there is none.
    """
    if len(data) > _MAX_SIZE:
        raise ValueError("too long")
    members = json.loads(data)
    version = members["version"]
    if isinstance(version, int) and version > VERSION:
        raise _LaterVersion
    if version != VERSION:
        raise ValueError("no version")
    timestamp_of(members["since"])
    since: str = members["since"]
    return since


class EventState:
    """The timestamp of the last event, in a file that one process uses.

    While it is entered, the process holds a lock on ``FILE.lock``, which stays. The
    file is replaced as a whole by ``FILE.new``, which is on the disk by then.

    :param path: the file; a symbolic link is followed.
    :ivar since: the timestamp; ``None`` if there is no file yet.
    """

    def __init__(self, path: Path) -> None:
        self.since: str | None = None
        self._shown = path
        self._path = os.path.realpath(path)
        self._lock: int | None = None

    def __enter__(self) -> EventState:
        """Take the lock, and read the file.

        :raises CommandError: if another process has it, or the file is damaged.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._lock = os.open(f"{self._path}.lock", flags, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.since = self._read()
        except BlockingIOError:
            self._fail("another devlxd events uses it")
        except OSError as error:
            self._fail(error.strerror)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release the lock."""
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _fail(self, reason: str | None) -> NoReturn:
        self._unlock()
        raise CommandError(f"{self._shown}: {reason}") from None

    def _read(self) -> str | None:
        try:
            with open(self._path, "rb") as file:
                data = file.read(_MAX_SIZE + 1)
        except FileNotFoundError:
            return None
        try:
            return _since_of(data)
        except _LaterVersion:
            self._fail("it was written by a later version of devlxd")
        except (LookupError, RecursionError, TypeError, ValueError):
            self._fail("damaged; remove it to begin anew with the present")

    def save(self, since: str) -> None:
        """Remember that an event is done with; when this returns, it is on the disk.

        :param since: its timestamp.
        :raises CommandError: if the file cannot be written.
        """
        if since == self.since:
            return
        try:
            timestamp_of(since)
        except ValueError:
            self._fail(f"what the server has sent is not a timestamp: {since}")
        data = json.dumps({"version": VERSION, "since": since}).encode() + b"\n"
        try:
            self._replace(data)
        except OSError as error:
            self._fail(error.strerror)
        self.since = since

    def _replace(self, data: bytes) -> None:
        new = f"{self._path}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(new, flags, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self._path)
        directory = os.open(os.path.dirname(self._path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

# -*- test-case-name: tests.documents.test_locking -*-
"""Locking a directory of documents, so that no change of two writers is lost."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: How long to wait for another writer, in seconds. It needs less than one, unless its
#: document is large.
TIMEOUT = 60.0

#: The time between two attempts, in seconds.
INTERVAL = 0.01


class LockTimeoutError(Exception):
    """Another process has held the lock for too long."""


@contextmanager
def locked(
    directory: Path,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the lock of a directory (``flock(2)``).

    The lock is on the directory itself: it leaves no file, and ends with the process.
    devlxd, which only reads, does not take it.

    :raises LockTimeoutError: if another process holds it for `TIMEOUT` seconds.
    :raises OSError: if the directory cannot be opened or locked.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = now() + TIMEOUT
        while not _is_acquired(descriptor):
            # Any user who may read the directory can hold its lock for ever.
            if now() >= deadline:
                raise LockTimeoutError
            sleep(INTERVAL)
        yield
    finally:
        os.close(descriptor)


def _is_acquired(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

# -*- test-case-name: tests.test_files -*-
"""Opening what should be a file, and may be anything."""

from __future__ import annotations

import errno
import os
import stat


def open_regular(path: str | os.PathLike[str], flags: int = 0) -> int:
    """Open a regular file to read it; never wait on a FIFO or a device.

    :param flags: of ``open(2)``, besides those that are needed for this.
    :return: a file descriptor, for the caller to close.
    :raises OSError: when it cannot be opened, or is something else.
    """
    flags |= os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    fd = os.open(path, flags)
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd
    os.close(fd)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, "not a regular file", path)

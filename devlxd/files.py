# -*- test-case-name: tests.test_files -*-
"""What Python's ``os`` has not of files: open nothing else, ask when they were born."""

from __future__ import annotations

import ctypes
import errno
import os
import stat

#: Of ``statx(2)``: look at the descriptor itself; tell the birth time.
_AT_EMPTY_PATH = 0x1000
_STATX_BTIME = 0x800


class _Timestamp(ctypes.Structure):
    """``struct statx_timestamp``."""

    _fields_ = (
        ("tv_sec", ctypes.c_int64),
        ("tv_nsec", ctypes.c_uint32),
        ("reserved", ctypes.c_int32),
    )


class _Statx(ctypes.Structure):
    """``struct statx``, as far as it is asked for; all of it is 256 bytes."""

    _fields_ = (
        ("stx_mask", ctypes.c_uint32),
        ("before", ctypes.c_uint8 * 76),
        ("stx_btime", _Timestamp),
        ("after", ctypes.c_uint8 * 160),
    )


#: Missing in a C library older than its version 2.28 or, of musl, 1.2.0.
_statx = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)


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


def birth_time_ns(path: str | os.PathLike[str] | int) -> int | None:
    """Return when a file was made, which nothing that is done to it changes.

    Python has no ``statx(2)``. Links are followed.

    :param path: a path, or a file descriptor.
    :return: nanoseconds since 1970; ``None`` where the kernel, the C library or
        the file system does not know.
    :raises OSError: when there is no such file, or it may not be looked at.
    """
    if isinstance(path, int):
        descriptor, name, flags = path, b"", _AT_EMPTY_PATH
    else:
        # An absolute path, so that no directory is needed to begin at.
        descriptor, name, flags = -1, os.fsencode(os.path.abspath(path)), 0
    if _statx is None:
        os.stat(path)
        return None
    status = _Statx()
    if _statx(descriptor, name, flags, _STATX_BTIME, ctypes.byref(status)) != 0:
        number = ctypes.get_errno()
        # What runs in a container may be told that there is no such call.
        if number in (errno.ENOSYS, errno.EPERM):
            return None
        raise OSError(number, os.strerror(number), path)
    if not status.stx_mask & _STATX_BTIME:
        return None
    return int(status.stx_btime.tv_sec) * 10**9 + int(status.stx_btime.tv_nsec)

# -*- test-case-name: tests.test_files -*-
"""Additions to `os`: opening regular files only, and birth times."""

from __future__ import annotations

import ctypes
import errno
import os
import stat

#: Constants of ``statx(2)``: use the descriptor itself; ask for the birth time.
_AT_EMPTY_PATH = 0x1000
_STATX_BTIME = 0x800


class _Timestamp(ctypes.Structure):
    """``struct statx_timestamp``, see ``statx(2)``."""

    _fields_ = (
        ("tv_sec", ctypes.c_int64),
        ("tv_nsec", ctypes.c_uint32),
        ("reserved", ctypes.c_int32),
    )


class _Statx(ctypes.Structure):
    """``struct statx``, 256 bytes, see ``statx(2)``; fields not used are omitted."""

    _fields_ = (
        ("stx_mask", ctypes.c_uint32),
        ("before", ctypes.c_uint8 * 76),
        ("stx_btime", _Timestamp),
        ("after", ctypes.c_uint8 * 160),
    )


#: ``statx(2)``; ``None`` with glibc before 2.28 and musl before 1.2.0.
_statx = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)


def open_regular(path: str | os.PathLike[str], flags: int = 0) -> int:
    """Open a regular file for reading, without blocking on a FIFO or device.

    :param flags: additional flags for ``open(2)``.
    :return: a file descriptor, which the caller has to close.
    :raises OSError: if the file cannot be opened, or is not a regular file.
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
    """Return when a file was created. Later changes do not affect this time.

    This calls ``statx(2)``, for which Python has no function. Symbolic links are
    followed.

    :param path: a path, or a file descriptor.
    :return: nanoseconds since 1970; ``None`` if the kernel, the C library or
        the file system does not know the birth time.
    :raises OSError: if there is no such file, or it is not accessible.
    """
    if isinstance(path, int):
        descriptor, name, flags = path, b"", _AT_EMPTY_PATH
    else:
        # With an absolute path statx(2) ignores the descriptor.
        descriptor, name, flags = -1, os.fsencode(os.path.abspath(path)), 0
    if _statx is None:
        os.stat(path)
        return None
    status = _Statx()
    if _statx(descriptor, name, flags, _STATX_BTIME, ctypes.byref(status)) != 0:
        number = ctypes.get_errno()
        # An old kernel has no statx(2); the seccomp filter of a container that
        # devlxd runs in may forbid it.
        if number in (errno.ENOSYS, errno.EPERM):
            return None
        raise OSError(number, os.strerror(number), path)
    if not status.stx_mask & _STATX_BTIME:
        return None
    return int(status.stx_btime.tv_sec) * 10**9 + int(status.stx_btime.tv_nsec)

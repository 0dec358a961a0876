# -*- test-case-name: tests.host.test_startup -*-
"""Checks of the host when devlxd starts: what it has, and what is missing."""

from __future__ import annotations

import enum
import os
import re
import resource
import socket
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from attrs import frozen
from twisted.logger import Logger

from devlxd.pidfds import cgroup_id_of
from devlxd.socket_options import SO_PASSRIGHTS, SO_PEERPIDFD

#: The capabilities that matter, from ``<linux/capability.h>``: the first identifies
#: callers, the others read every document.
_CAPABILITIES = {"CAP_SYS_PTRACE": 19, "CAP_DAC_READ_SEARCH": 2, "CAP_DAC_OVERRIDE": 1}

#: The extent of the ids of the initial user namespace (``user_namespaces(7)``).
_ALL_IDS = ["0", "0", "4294967295"]

#: Below these numbers a host with many containers has a problem.
_MANY_FILES = 8192
_MANY_WATCHES = 8192

_log = Logger()


class Result(enum.Enum):
    """The result of a check; the value is a word for the log."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@frozen
class Check:
    """One check.

    :ivar name: what was checked, in at most 14 characters.
    :ivar result: whether it is as devlxd needs it.
    :ivar detail: what was found, in one line.
    """

    name: str
    result: Result
    detail: str


@frozen
class UsedDirectory:
    """A directory that devlxd uses.

    :ivar option: the option that names it.
    :ivar path: its path.
    :ivar is_written: whether devlxd writes to it, besides reading it.
    :ivar is_needed: whether it must exist now.
    """

    option: str
    path: str
    is_written: bool = False
    is_needed: bool = True


def run_checks(
    directories: Iterable[UsedDirectory],
    proc: Path = Path("/proc"),
    cgroups: Path = Path("/sys/fs/cgroup"),
) -> list[Check]:
    """Check this process, its directories and the kernel.

    :param proc: where proc(5) is mounted.
    :param cgroups: where cgroups(7) are mounted.
    """
    checks: list[Callable[[], Check]] = [
        lambda: _capabilities(proc),
        lambda: _user_namespace(proc),
        _files,
        _kernel,
        lambda: _inotify(proc),
        lambda: _cgroups(cgroups),
    ]
    return [*map(_guarded, checks), *map(_directory, directories)]


def log_checks(version: str, checks: Iterable[Check]) -> None:
    """Log a line for each check for people, and one event with all for programs.

    :param version: the version of devlxd.
    """
    checks = [*checks]
    for check in checks:
        _log.info(
            "{check}: {result}: {detail}",
            check=check.name,
            result=check.result.value,
            detail=check.detail,
        )
    details: dict[str, str] = {}
    for check in checks:
        field = check.name.replace(" ", "_")
        before = f"{details[field]}; " if field in details else ""
        details[field] = f"{before}{check.result.value}: {check.detail}"
    _log.info(
        "devlxd {version} starts; problems: {problems}",
        version=version,
        problems=sum(check.result is Result.PROBLEM for check in checks),
        warnings=sum(check.result is Result.WARNING for check in checks),
        pid=os.getpid(),
        **details,
    )


def _guarded(check: Callable[[], Check]) -> Check:
    """Make a check; a kernel without a file of proc(5) is no reason to fail."""
    try:
        return check()
    except (OSError, ValueError, IndexError) as error:
        return Check("host", Result.WARNING, f"cannot be checked: {error}")


def _capabilities(proc: Path) -> Check:
    status = (proc / "self/status").read_text()
    match = re.search(r"^CapEff:\t([0-9a-f]+)$", status, re.MULTILINE)
    effective = int(match[1], 16) if match else 0
    found = [name for name, bit in _CAPABILITIES.items() if effective & 1 << bit]
    detail = f"{' '.join(found) or 'none that matter'}, uid {os.geteuid()}"
    result = Result.OK if "CAP_SYS_PTRACE" in found else Result.PROBLEM
    return Check("capabilities", result, detail)


def _user_namespace(proc: Path) -> Check:
    lines = (proc / "self/uid_map").read_text().splitlines()
    if [line.split() for line in lines] == [_ALL_IDS]:
        return Check("user namespace", Result.OK, "that of the host")
    shown = ", ".join(" ".join(line.split()) for line in lines[:3])
    return Check("user namespace", Result.OK, f"its own, uids {shown}")


def _files() -> Check:
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return Check("files", Result.OK, "unlimited")
    result = Result.OK if soft >= _MANY_FILES else Result.WARNING
    return Check("files", result, f"{soft} may be open (LimitNOFILE=)")


def _kernel() -> Check:
    missing = [name for name, has in _features() if not has]
    release = os.uname().release
    if not missing:
        return Check("kernel", Result.OK, release)
    return Check("kernel", Result.WARNING, f"{release} has no {', '.join(missing)}")


def _features() -> Iterator[tuple[str, bool]]:
    """Yield what newer kernels have, and whether this one has it."""
    one, other = socket.socketpair()
    with one, other:
        yield "SO_PEERPIDFD (6.5)", _has_option(one, SO_PEERPIDFD)
        yield "PIDFD_GET_INFO (6.13)", _has_cgroup_ids()
        yield "SO_PASSRIGHTS (6.16)", _has_option(one, SO_PASSRIGHTS)


def _has_cgroup_ids() -> bool:
    """Return whether the kernel returns the cgroup of a process, here of this one."""
    try:
        pidfd = os.pidfd_open(os.getpid())
    except OSError:
        return False
    try:
        return cgroup_id_of(pidfd) is not None
    finally:
        os.close(pidfd)


def _has_option(connection: socket.socket, option: int) -> bool:
    try:
        value = connection.getsockopt(socket.SOL_SOCKET, option)
    except OSError:
        return False
    if option == SO_PEERPIDFD:
        os.close(value)
    return True


def _inotify(proc: Path) -> Check:
    limits = proc / "sys/fs/inotify"
    watches = int((limits / "max_user_watches").read_text())
    instances = int((limits / "max_user_instances").read_text())
    queued = int((limits / "max_queued_events").read_text())
    result = Result.OK if watches >= _MANY_WATCHES else Result.WARNING
    detail = f"{watches} watches, {instances} instances, {queued} queued events"
    return Check("inotify", result, detail)


def _cgroups(root: Path) -> Check:
    if (root / "cgroup.controllers").exists():
        return Check("cgroups", Result.OK, "version 2")
    if (root / "unified/cgroup.controllers").exists():
        return Check("cgroups", Result.OK, "versions 1 and 2 (hybrid)")
    if root.is_dir() and any(root.iterdir()):
        return Check("cgroups", Result.OK, "version 1")
    return Check("cgroups", Result.PROBLEM, f"none are mounted at {root}")


def _directory(directory: UsedDirectory) -> Check:
    option, path = directory.option, directory.path
    try:
        status = os.stat(path)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not directory.is_needed:
            return Check(option, Result.OK, f"{path} does not exist yet")
        return Check(option, Result.PROBLEM, f"{path}: {error.strerror}")
    mode = f"{path} (mode {stat.S_IMODE(status.st_mode):o}, uid {status.st_uid})"
    if not stat.S_ISDIR(status.st_mode):
        return Check(option, Result.PROBLEM, f"{mode} is not a directory")
    needed = os.R_OK | os.X_OK | (os.W_OK if directory.is_written else 0)
    if not os.access(path, needed, effective_ids=True):
        missing = "written" if os.access(path, os.R_OK | os.X_OK) else "read"
        return Check(option, Result.PROBLEM, f"{mode} cannot be {missing}")
    return Check(option, Result.OK, mode)

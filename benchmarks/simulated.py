"""Thousands of simulated containers that run a function of this process.

A simulated container is what devlxd looks at: the init of a pid namespace, in a cgroup
of systemd-nspawn. It is a fork of this process: 10 000 of them need some GiB.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import frozen

from benchmarks.soaking.containers import unified_hierarchy
from tests.integration.processes import GuestError

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWPID = 0x20000000
_PR_SET_PDEATHSIG = 1

#: The signals that end the benchmarks.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

#: How large a result may be, in bytes.
_RESULT = 64 * 1024

#: What a container does: a function of its number, which returns a value for JSON and
#: descriptors to pass.
Job = Callable[[int], tuple[object, Sequence[int]]]


@frozen
class Result:
    """What a container has returned.

    :ivar number: the number of the container.
    :ivar value: the value.
    :ivar descriptors: the descriptors, which the receiver closes.
    """

    number: int
    value: Any
    descriptors: Sequence[int]


class SimulatedContainers:
    """Containers that wait until each is let do its job.

    :param names: their names.
    :param job: what each does, once.
    :raises OSError: if one cannot be made.
    """

    def __init__(self, names: Sequence[str], job: Job) -> None:
        self._names = names
        self._job = job
        self._gate, self._key = os.pipe()
        self._results, self._sender = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_DGRAM
        )
        self._directory = unified_hierarchy() / "machine.slice"
        self._directory.mkdir(exist_ok=True)
        self._inits: list[int] = []

    def __enter__(self) -> SimulatedContainers:
        """Start them all."""
        own = os.open("/proc/self/ns/pid", os.O_RDONLY)
        # The forks share the memory of this process until one writes to it.
        gc.collect()
        gc.freeze()
        try:
            for number in range(len(self._names)):
                self._start(number, own)
        except BaseException:
            self.__exit__()
            raise
        finally:
            os.close(own)
            gc.unfreeze()
        return self

    def _start(self, number: int, own: int) -> None:
        cgroup = self._cgroup(number)
        cgroup.mkdir(exist_ok=True)
        # An exception of a signal handler would be lost in what Python does at a fork.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        _check(_LIBC.unshare(_CLONE_NEWPID))
        try:
            pid = os.fork()
            if pid == 0:
                self._be_init(number, cgroup)
        finally:
            _check(_LIBC.setns(own, _CLONE_NEWPID))
        self._inits.append(pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _be_init(self, number: int, cgroup: Path) -> None:
        """Be the init of a container; do not return."""
        try:
            gc.disable()
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            (cgroup / "cgroup.procs").write_text("0")
            os.read(self._gate, 1)
            error = ""
            value: object = None
            descriptors: Sequence[int] = ()
            try:
                value, descriptors = self._job(number)
            except Exception as exception:
                error = repr(exception)
            message = json.dumps([number, error, value]).encode()
            socket.send_fds(self._sender, [message], descriptors)
            # Lets the next container do its job.
            os.write(self._key, b"x")
            for descriptor in descriptors:
                os.close(descriptor)
            signal.pause()
        finally:
            os._exit(1)

    def _cgroup(self, number: int) -> Path:
        return self._directory / f"machine-{self._names[number]}.scope"

    def run(self, at_once: int) -> Iterator[Result]:
        """Let each do its job, some at a time; yield the results as they arrive.

        :raises GuestError: if a job has failed.
        :raises TimeoutError: if none arrives for a minute.
        """
        self._results.settimeout(60)
        os.write(self._key, b"x" * at_once)
        for _ in self._names:
            data, descriptors, _, _ = socket.recv_fds(self._results, _RESULT, 1)
            number, error, value = json.loads(data)
            if error:
                raise GuestError(f"{self._names[number]}: {error}")
            yield Result(number, value, descriptors)

    def __exit__(self, *_: object) -> None:
        """Kill and remove them all."""
        for pid in self._inits:
            os.kill(pid, signal.SIGKILL)
        for pid in self._inits:
            os.waitpid(pid, 0)
        for number in range(len(self._names)):
            with suppress(FileNotFoundError):
                self._cgroup(number).rmdir()
        for descriptor in (self._gate, self._key):
            os.close(descriptor)
        self._results.close()
        self._sender.close()


def _check(returned: int) -> None:
    if returned:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

"""Containers in a container: hosts whose root is not the root of the machine.

A `NestingContainer` has a user namespace of its own. Its root may start LXC
containers, as the root of a host does: a `NestedContainer` with its own user
namespace, or without. A devlxd that runs in the outer container serves them.

Where the outer container has no LXC, for example a guest of
`tests.integration.cloud_guest`, `imitated_guest` starts a guest as LXC does.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from tests.integration.lxc import HOST_DIRECTORIES, LXCContainer
from tests.integration.processes import run
from tests.integration.servers import TWISTD, ServerProcess

#: The checkout of devlxd in which the tests run.
CHECKOUT = Path(__file__).parents[2]

#: The number of ids of a nesting container: enough for nested ones with 65536 each.
_COUNT = 300_000

#: Starts a container. Without PATH, LXC finds no newuidmap and maps the ids itself:
#: then root needs no entries in /etc/subuid and /etc/subgid.
_START = ["env", "-u", "PATH", shutil.which("lxc-start") or "lxc-start"]

#: Makes the bind mounts of pairs of paths, up to ``--``, and runs the rest of the
#: command line.
_BIND = """
while test "$1" != --; do
    mount --bind "$1" "$2"
    shift 2
done
shift
exec "$@"
"""

#: Starts a guest as LXC does, and waits for its end. It is formatted with the name of
#: the guest and the command of its init.
_IMITATION = """
import ctypes, os, signal

CLONE_NEWPID = 0x20000000
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)
top = "/sys/fs/cgroup/unified"
if not os.path.isdir(top):
    top = "/sys/fs/cgroup"

def enter(cgroup):
    os.makedirs(f"{{top}}/{{cgroup}}", exist_ok=True)
    with open(f"{{top}}/{{cgroup}}/cgroup.procs", "w") as file:
        file.write("0")

name, init = {name!r}, {init!r}
enter(f"lxc.monitor.{{name}}")
if libc.unshare(CLONE_NEWPID):
    raise OSError("unshare")
pid = os.fork()
if not pid:
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    enter(f"lxc.payload.{{name}}")
    os.execvp(init[0], init)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""

#: Runs `_IMITATION` with the title of LXC's monitor.
_TITLED = 'exec -a "[lxc monitor] /var/lib/lxc $1" python3 <<<"$2"'

#: What an outer container needs besides the configuration of `LXCContainer`: its
#: own cgroups, terminals for monitors, and a proc and a sysfs without mounts on top,
#: without which the kernel lets no user namespace mount them.
_NESTING = """\
lxc.mount.auto = proc:rw sys:mixed cgroup:rw:force
lxc.include = /usr/share/lxc/config/nesting.conf
lxc.apparmor.profile = unconfined
lxc.pty.max = 64
"""


def program_paths() -> Sequence[Path]:
    """Return the directories of this Python and of devlxd."""
    paths = {CHECKOUT, Path(sys.prefix), Path(sys.base_prefix)}
    return [
        path
        for path in sorted(paths)
        if path.parts[1] not in HOST_DIRECTORIES
        and not any(other in path.parents for other in paths)
    ]


@frozen
class NestingContainer(LXCContainer):
    """A container in which the root may start containers and devlxd.

    Its ``home`` has the same path inside, so that the nested containers can be there.
    Its ``host_id`` must not be 0.
    """

    def nested_home(self) -> Path:
        """Return the directory of the nested containers, on the host and inside."""
        return self._path / "nested"

    def create(self) -> None:
        """See `LXCContainer.create`."""
        super().create()
        self.nested_home().mkdir()
        os.chown(self.nested_home(), self.host_id, self.host_id)
        for mount in self._program_mounts().values():
            mount.mkdir()

    def _program_mounts(self) -> Mapping[Path, Path]:
        """Return the directories of programs, and where they are mounted.

        The root of the container may not enter the parents of some of them.
        """
        paths = enumerate(program_paths())
        return {path: self._path / f"programs{n}" for n, path in paths}

    def _lxc(self, verb: str, *arguments: str) -> str:
        if verb != "start":
            return super()._lxc(verb, *arguments)
        pairs = [str(path) for pair in self._program_mounts().items() for path in pair]
        return run(
            *("unshare", "--mount", "sh", "-euc", _BIND, "-", *pairs, "--"),
            *(*_START, "-P", str(self.home), "-n", self.name, *arguments),
        )

    def _config(self, rootfs: Path, init: Path) -> str:
        text = super()._config(rootfs, init).replace(" 65536\n", f" {_COUNT}\n")
        mounts = {self.nested_home(): self.nested_home()}
        mounts.update({at: path for path, at in self._program_mounts().items()})
        for host, guest in mounts.items():
            entry = f"{host} {str(guest)[1:]} none rbind,create=dir 0 0"
            text += f"lxc.mount.entry = {entry}\n"
        return text + _NESTING


@frozen(kw_only=True)
class NestedContainer(LXCContainer):
    """An LXC container that the root of another container has started.

    :ivar host_id: as in `LXCContainer`, but as the outer container sees it: 0
        for a container in the user namespace of the outer one.
    :ivar outer: the outer container.
    """

    outer: NestingContainer

    def create(self) -> None:
        """See `LXCContainer.create`; the outer root may write beside the root."""
        super().create()
        os.chown(self._path, self.outer.host_id, self.outer.host_id)

    def _lxc(self, verb: str, *arguments: str) -> str:
        program = _START if verb == "start" else [f"lxc-{verb}"]
        return self.outer.attach(
            *program, "-P", str(self.home), "-n", self.name, *arguments
        )

    def _owner(self) -> int:
        return self.outer.host_id + self.host_id


def imitated_guest(name: str, *init: str) -> Sequence[str]:
    """Return a command that runs a guest which devlxd identifies as one of LXC.

    It is for the root of a host or of an outer container with bash and Python. The
    guest has a pid namespace and cgroups of its own; its file system and its users are
    those of the outer container. The command ends when the guest's init ends.

    :param name: the name of the guest's container.
    :param init: the command of its init, of which all its processes are children.
    """
    program = _IMITATION.format(name=name, init=init)
    return ["bash", "-c", _TITLED, "-", name, program]


class NestedDevLXD(ServerProcess):
    """A ``twistd devlxd`` that runs in a nesting container, as its root.

    :param outer: that container.
    """

    def __init__(self, outer: NestingContainer, *arguments: str) -> None:
        self._outer = outer
        self._pidfile = outer.nested_home() / "pid"
        state = outer.nested_home() / "state"
        endpoints = sum(argument.startswith("--listen") for argument in arguments)
        super().__init__(
            *("lxc-attach", "-P", str(outer.home), "-n", outer.name, "--"),
            *("env", f"PYTHONPATH={CHECKOUT}", TWISTD, "-n"),
            *(f"--pidfile={self._pidfile}", "devlxd", f"--state={state}"),
            *arguments,
            endpoints=endpoints,
        )

    def send_signal(self, number: int) -> None:
        """See `ServerProcess.send_signal`; the signal is sent inside."""
        # The process may have ended.
        command = f"kill -{number} $(cat {self._pidfile}) || true"
        self._outer.attach("sh", "-c", command)

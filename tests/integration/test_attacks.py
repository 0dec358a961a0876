"""Tests of attacks by root of one container on the secret of another.

The table in ``docs/security.rst`` names the test of each attack.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from devlxd.peers import processes
from devlxd.peers.processes import ProcFS
from tests.integration.guest_programs import Barrier, python
from tests.integration.lxc import (
    INIT,
    LXCContainer,
    cgroup_hierarchies,
    make_home,
    missing_requirement,
    unique_name,
)
from tests.integration.processes import (
    TIMEOUT,
    GuestError,
    ProcessTestCase,
    run,
    start,
    wait_until,
)
from tests.integration.servers import DevLXD

SOCKET = "/dev/lxd/sock"

CURL = ["curl", "-s", "--unix-socket", SOCKET, "http://lxd/1.0/config/user.secret"]

NOT_ROOT = "Access denied for non-root user\n"

NOT_IN_CONTAINER = "not in a container\n"

#: The secrets of the two containers.
OWN, OF_VICTIM = "secret of attacker", "secret of victim"


class AttackTests(ProcessTestCase):
    """Attacks of a container on another one."""

    skip = missing_requirement()

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        for name in ("documents", "lxd", "shared"):
            (self.home / name).mkdir()
        (self.home / "shared").chmod(0o777)
        names = {word: unique_name(word) for word in ("attacker", "victim")}
        for word, name in names.items():
            document = {"config": {"user.secret": f"secret of {word}"}}
            (self.home / "documents" / f"{name}.json").write_text(json.dumps(document))
        self.devlxd = DevLXD(
            f"--containers={self.home}/documents", f"--listen={self.endpoint()}"
        )
        self.addCleanup(self.devlxd.stop)
        self.wait_for_sockets()
        # Both have the same id map, like all containers of an LXD by default.
        self.attacker, self.victim = (
            LXCContainer(name, self.home, 100_000, self.binds(name))
            for name in names.values()
        )
        for container in (self.attacker, self.victim):
            container.start()
            self.addCleanup(self.stop, container)

    def endpoint(self) -> str:
        """Return where devlxd listens."""
        return f"{self.home}/lxd"

    def directory(self, _name: str) -> Path:
        """Return the directory of the socket of a container."""
        return self.home / "lxd"

    def wait_for_sockets(self) -> None:
        """Wait until devlxd has made its sockets, if it has not when it listens."""

    def binds(self, name: str) -> dict[Path, str]:
        """Return what is mounted in a container."""
        return {self.directory(name): "dev/lxd", self.home / "shared": "run/shared"}

    def stop(self, container: LXCContainer) -> None:
        """Stop a container, unless the test has already stopped it."""
        with contextlib.suppress(GuestError):
            container.stop()

    def test_honest(self) -> None:
        """Without an attack each container reads its own secret."""
        for run_inside in (self.attacker.run, self.attacker.attach):
            self.assertEqual(run_inside(*CURL), OWN)
        self.assertEqual(self.victim.run(*CURL), OF_VICTIM)

    def test_process_title(self) -> None:
        """The title of the victim's monitor does not make a process the victim.

        This attack on LXD is CVE-2025-54288.
        """
        for title in (
            f"[lxc monitor] /var/lib/lxc {self.victim.name}",
            f"[lxc monitor] {self.home} {self.victim.name}",
            f"[lxc monitor] /var/lib/lxd/containers {self.victim.name}",
        ):
            command = 'title=$1; shift; exec -a "$title" "$@"'
            got = self.attacker.run("bash", "-c", command, "-", title, *CURL)
            self.assertEqual(got, OWN)

    def test_title_of_the_parent(self) -> None:
        """The title of a caller's parent does not make the caller the victim."""
        title = f"[lxc monitor] {self.home} {self.victim.name}"
        program = "import subprocess, sys; subprocess.run(sys.argv[1:])"
        command = 'title=$1; shift; exec -a "$title" "$@"'
        parent = ["python3", "-c", program, *CURL]
        got = self.attacker.run("bash", "-c", command, "-", title, *parent)
        self.assertEqual(got, OWN)

    def test_cgroups(self) -> None:
        """A cgroup with the victim's name does not make the attacker the victim.

        The attacker creates it at several depths below its own cgroup.
        """
        for name in ("lxc.payload", "lxc.monitor"):
            for depth in range(4):
                cgroup = "/".join([*["x"] * depth, f"{name}.{self.victim.name}"])
                script = f"""
                    set -e
                    mkdir -p /tmp/cgroup
                    mount -t cgroup2 none /tmp/cgroup
                    mkdir -p /tmp/cgroup/{cgroup}
                    echo $$ >/tmp/cgroup/{cgroup}/cgroup.procs
                    grep -q '^0::.*{name}.{self.victim.name}$' /proc/self/cgroup
                    exec "$@"
                """
                command = ["unshare", "-m", "bash", "-c", textwrap.dedent(script), "-"]
                for run_inside in (self.attacker.run, self.attacker.attach):
                    self.assertEqual(run_inside(*command, *CURL), OWN, cgroup)

    def test_line_ends(self) -> None:
        """A line end in the name of a cgroup does not make a host user the victim."""
        top = Path("/sys/fs/cgroup/unified")
        if not top.is_dir():
            top = Path("/sys/fs/cgroup")
        outer = top / unique_name("user.slice")
        inner = outer / "x\r0::" / f"lxc.payload.{self.victim.name}"
        for path in (outer, inner.parent, inner):
            path.mkdir()
            self.addCleanup(path.rmdir)
        script = """
            echo $$ >"$1/cgroup.procs" && shift
            exec setpriv --reuid=100000 --regid=100000 --clear-groups unshare -Urpf "$@"
        """
        path = self.directory(self.victim.name) / "sock"
        curl = [*CURL[:3], str(path), *CURL[4:]]
        command = ["bash", "-c", textwrap.dedent(script), "-", str(inner), *curl]
        self.assertEqual(run(*command), NOT_IN_CONTAINER)

    def test_file_descriptors(self) -> None:
        """A guest that sends file descriptors along does not block devlxd."""
        self.assertRaises(
            GuestError,
            self.attacker.run,
            *python("""
                guest = connect()
                lingering = socket.create_server(("127.0.0.1", 0))
                socket.send_fds(guest, [b"GET / HTTP/1.1"], [lingering.fileno()])
                send_request(guest)
                sys.exit("the request was accepted")
            """),
        )
        self.assertEqual(self.victim.run(*CURL), OF_VICTIM)

    def test_searched_init(self) -> None:
        """On older kernels the init of a pid namespace is found by a search."""
        table = ProcFS()
        init = self.attacker.init_pid()
        self.assertEqual(table.init(init), init)
        self.patch(processes, "_init_of", lambda namespace: 0)
        self.assertEqual(table.init(init), init)
        self.assertEqual(len(table.pid_namespaces(init)), 1)
        self.assertEqual(table.id_map(init).inside(100_000), 0)

    def test_removed_container(self) -> None:
        """A connection is closed when its container is removed."""
        with ThreadPoolExecutor() as pool, Barrier(self.home / "shared") as barrier:
            pool.submit(
                self.attacker.run,
                *python("""
                    guest, host = connect(), arrive(b"attacker")
                    send_request(guest, GET_PATHS, end=b"]\\n")
                    host.sendall(b"x")
                    while guest.recv(1):
                        pass
                    host.sendall(send_request(guest).encode())
                """),
            )
            attacker, _ = barrier.wait_for(b"attacker")
            attacker.recv(1)
            (self.home / "documents" / f"{self.attacker.name}.json").unlink()
            self.assertEqual(attacker.recv(1000), b"closed")
        self.assert_not_served()

    def assert_not_served(self) -> None:
        """Check that the attacker, whose document is removed, is not served."""
        self.assertEqual(self.attacker.run(*CURL), NOT_IN_CONTAINER)

    def test_namespaces(self) -> None:
        """In nested namespaces, the attacker's root is still the attacker."""
        for flags in ("-pf", "-Cpf", "-Urpf", "-UrCpfm", "-Ur"):
            got = self.attacker.run("unshare", flags, *CURL)
            self.assertEqual(got, OWN, flags)

    def test_user_namespace(self) -> None:
        """A user who is root of a new user namespace is not the container's root."""
        user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]
        for unshare in ([], ["unshare", "-Ur"], ["unshare", "-Urpf"]):
            got = self.attacker.run(*user, *unshare, *CURL)
            self.assertEqual(got, NOT_ROOT, unshare)

    def test_setuid_helper(self) -> None:
        """A setuid program is identified by its container and its effective uid."""
        self.attacker.run("cp", "/usr/bin/curl", "/tmp/curl")
        self.attacker.run("chmod", "4755", "/tmp/curl")
        user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]
        self.assertEqual(self.attacker.run(*user, "/tmp/curl", *CURL[1:]), OWN)
        self.attacker.run("chown", "1000", "/tmp/curl")
        self.attacker.run("chmod", "4755", "/tmp/curl")
        self.assertEqual(self.attacker.run("/tmp/curl", *CURL[1:]), NOT_ROOT)

    def test_recycled_pid(self) -> None:
        """A caller that ends before it is accepted is not taken for the victim."""
        wait_until(self.recycle_pid, "a pid that is recycled")

    def recycle_pid(self) -> bool:
        """Try the attack once; return whether the victim was given the pid."""
        with ThreadPoolExecutor() as pool, Barrier(self.home / "shared") as barrier:
            os.kill(self.devlxd.pid, signal.SIGSTOP)
            try:
                caller = pool.submit(
                    self.attacker.run,
                    *python("""
                        guest = connect()
                        if os.fork() == 0:
                            os.close(1)
                            os.close(2)
                            host = arrive(b"keeper")
                            host.recv(1)
                            host.sendall(send_request(guest).encode())
                            os._exit(0)
                        arrive(b"caller").recv(1)
                    """),
                )
                keeper, _ = barrier.wait_for(b"keeper")
                ended, pid = barrier.wait_for(b"caller")
                ended.sendall(b"x")
                caller.result()
                sleeper, got = self.next_process_of_the_victim(pool, barrier, pid)
            finally:
                os.kill(self.devlxd.pid, signal.SIGCONT)
            keeper.sendall(b"x")
            response = keeper.recv(1000).decode()
            sleeper.sendall(b"x")
        self.assertEqual(response, NOT_IN_CONTAINER)
        return got == pid

    def next_process_of_the_victim(
        self, pool: ThreadPoolExecutor, barrier: Barrier, pid: int
    ) -> tuple[socket.socket, int]:
        """Start a process of the victim that probably receives ``pid``.

        :return: the connection on which it waits, and its pid.
        """
        # The victim's init first starts a thread, which uses one pid.
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 2))
        pool.submit(self.victim.run, *python("arrive(b'victim').recv(1)"))
        return barrier.wait_for(b"victim")

    def test_passed_connection(self) -> None:
        """The caller of a connection is its opener, even if the victim uses it."""
        with ThreadPoolExecutor() as pool, Barrier(self.home / "shared") as barrier:
            self.assertEqual(self.pass_on(pool, barrier, lambda: None), OWN)

    def test_passed_connection_of_an_ended_container(self) -> None:
        """A connection that was passed on is closed when its container ends."""
        with ThreadPoolExecutor() as pool, Barrier(self.home / "shared") as barrier:
            response = self.pass_on(pool, barrier, self.attacker.stop)
        self.assertEqual(response, "closed")

    def pass_on(
        self, pool: ThreadPoolExecutor, barrier: Barrier, between: Callable[[], object]
    ) -> str:
        """Pass a connection of the attacker to the victim, which sends a request.

        :param between: called before the victim's request.
        :return: the response that the victim has received.
        """
        pool.submit(
            self.attacker.run,
            *python("""
                guest, host = connect(), arrive(b"attacker")
                send_request(guest, GET_PATHS, end=b"]\\n")
                socket.send_fds(host, [b"x"], [guest.fileno()])
                host.recv(1)
            """),
        )
        pool.submit(
            self.victim.run,
            *python("""
                host = arrive(b"victim")
                _, (fd,), _, _ = socket.recv_fds(host, 1, 1)
                host.sendall(send_request(socket.socket(fileno=fd)).encode())
            """),
        )
        attacker, _ = barrier.wait_for(b"attacker")
        victim, _ = barrier.wait_for(b"victim")
        _, (fd,), _, _ = socket.recv_fds(attacker, 1, 1)
        between()
        socket.send_fds(victim, [b"x"], [fd])
        os.close(fd)
        response = victim.recv(1000).decode()
        with contextlib.suppress(OSError):
            attacker.sendall(b"x")
        return response


#: The program of an init that does not end with its monitor.
SURVIVOR = f"""
import ctypes

PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, 0)
{INIT}"""


class NameTests(ProcessTestCase):
    """Containers whose cgroup has another name, as after an unclean stop.

    The name of the victim is the name of the attacker with ``-1`` appended, as LXC
    names a cgroup when the first name is in use.
    """

    skip = missing_requirement()

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        for name in ("documents", "lxd", "other"):
            (self.home / name).mkdir()
        self.name = unique_name("c")
        self.victim_name = f"{self.name}-1"
        self.write(self.name, OWN)
        self.write(self.victim_name, OF_VICTIM)
        self.devlxd = DevLXD(
            f"--containers={self.home}/documents", f"--listen={self.home}/lxd"
        )
        self.addCleanup(self.devlxd.stop)

    def write(self, name: str, secret: str, **keys: str) -> None:
        """Write the document of a container."""
        document = {"config": {"user.secret": secret}, **keys}
        path = self.home / "documents" / f"{name}.json"
        path.with_suffix(".new").write_text(json.dumps(document))
        path.with_suffix(".new").rename(path)

    def start(self, name: str, lxcpath: str = "", program: str = INIT) -> LXCContainer:
        """Start a container.

        :param lxcpath: its LXC path, relative to that of the other containers.
        """
        binds = {self.home / "lxd": "dev/lxd"}
        home = self.home / lxcpath
        container = LXCContainer(name, home, 100_000, binds, program)
        self.addCleanup(self.stop, container)
        container.start()
        return container

    def stop(self, container: LXCContainer) -> None:
        """Stop a container, unless the test has already stopped it."""
        with contextlib.suppress(GuestError):
            container.stop()

    def make_stale_cgroup(self, name: str) -> None:
        """Create a stale cgroup with a container's name, in each hierarchy."""
        for top in cgroup_hierarchies():
            path = top / f"lxc.payload.{name}"
            path.mkdir()
            self.addCleanup(path.rmdir)

    def cgroup_of(self, container: LXCContainer) -> str:
        """Return the name that the cgroup of a container contains."""
        cgroups = ProcFS().cgroups(container.init_pid())
        (top,) = {cgroup.split("/")[1] for cgroup in cgroups}
        return top.removeprefix("lxc.payload.")

    def test_stale_cgroup(self) -> None:
        """A container is served despite a stale cgroup with its name."""
        self.make_stale_cgroup(self.name)
        attacker = self.start(self.name)
        self.assertEqual(self.cgroup_of(attacker), f"{self.name}-1")
        for run_inside in (attacker.run, attacker.attach):
            self.assertEqual(run_inside(*CURL), OWN)

    def test_cgroup_of_the_victims_name(self) -> None:
        """An attacker in the cgroup of the victim's name is not the victim."""
        self.make_stale_cgroup(self.name)
        attacker, victim = self.start(self.name), self.start(self.victim_name)
        self.assertEqual(self.cgroup_of(attacker), f"{self.name}-1")
        self.assertEqual(self.cgroup_of(victim), f"{self.name}-1-1")
        self.assertEqual(attacker.run(*CURL), OWN)
        self.assertEqual(victim.run(*CURL), OF_VICTIM)

    def test_beside_the_victim(self) -> None:
        """If the victim has the cgroup ``NAME-1``, the attacker is not the victim."""
        self.make_stale_cgroup(self.name)
        victim, attacker = self.start(self.victim_name), self.start(self.name)
        self.assertEqual(self.cgroup_of(victim), f"{self.name}-1")
        self.assertEqual(self.cgroup_of(attacker), f"{self.name}-2")
        self.assertEqual(victim.run(*CURL), OF_VICTIM)
        self.assertEqual(attacker.run(*CURL), OWN)

    def test_title_of_the_parent(self) -> None:
        """The title of a parent, also of an init, does not change the caller."""
        self.make_stale_cgroup(self.name)
        attacker = self.start(self.name)
        title = f"[lxc monitor] {self.home} {self.victim_name}"
        program = "import subprocess, sys; subprocess.run(sys.argv[1:])"
        command = 'title=$1; shift; exec -a "$title" "$@"'
        for caller in (
            CURL,
            ["unshare", "-pf", *CURL],
            ["unshare", "-Urpf", *CURL],
        ):
            parent = ["python3", "-c", program, *caller]
            got = attacker.run("bash", "-c", command, "-", title, *parent)
            self.assertEqual(got, OWN)

    def test_foreground(self) -> None:
        """A container in the foreground is served; its monitor has no title."""
        attacker = self.start(self.name)
        self.run_in_foreground(attacker)
        self.make_stale_cgroup(self.name)
        self.run_in_foreground(attacker)

    def run_in_foreground(self, container: LXCContainer) -> None:
        """Restart a container with ``lxc-start -F``; check that it is served."""
        lxc = ["-P", str(container.home), "-n", container.name]
        with contextlib.suppress(GuestError):
            run("lxc-stop", "-k", *lxc)
        (container.home / container.name / "init" / "sock").unlink()
        started = start("lxc-start", "-F", *lxc)
        try:
            wait_until(lambda: self.is_up(container), "the container runs")
            self.assertEqual(container.run(*CURL), OWN)
        finally:
            run("lxc-stop", "-k", *lxc)
            started.wait(TIMEOUT)

    def is_up(self, container: LXCContainer) -> bool:
        """Return whether a container runs commands."""
        with contextlib.suppress(OSError):
            container.run("true")
            return True
        return False

    def test_killed_monitor(self) -> None:
        """A container that outlives its monitor is refused; the next one is served."""
        table = ProcFS()
        outliving = self.start(self.name, program=SURVIVOR)
        self.assertEqual(outliving.run(*CURL), OWN)
        init = outliving.init_pid()
        self.addCleanup(self.kill, init, self.name)
        monitor = table.status(init).parent
        os.kill(monitor, signal.SIGKILL)
        wait_until(lambda: table.status(init).parent != monitor, "the monitor ends")
        self.assertEqual(outliving.run(*CURL), NOT_IN_CONTAINER)
        old = self.home / "old"
        (self.home / self.name).rename(old)
        restarted = self.start(self.name)
        self.assertEqual(self.cgroup_of(restarted), f"{self.name}-1")
        self.assertEqual(restarted.run(*CURL), OWN)
        self.assertEqual(restarted.run_at(old / "init", *CURL), NOT_IN_CONTAINER)

    def kill(self, init: int, name: str) -> None:
        """Kill an init that LXC no longer knows, and remove its cgroups."""
        os.kill(init, signal.SIGKILL)
        for top in cgroup_hierarchies():
            for kind in ("monitor", "payload"):
                cgroup = top / f"lxc.{kind}.{name}"
                wait_until(partial(remove_cgroup, cgroup), "the cgroup is empty")

    def test_two_of_one_name(self) -> None:
        """Of two containers with one name, the first to send a request is served."""
        first, second = self.start(self.name), self.start(self.name, "other")
        self.assertEqual(self.cgroup_of(second), f"{self.name}-1")
        self.assertEqual(first.run(*CURL), OWN)
        self.assertEqual(second.run(*CURL), NOT_IN_CONTAINER)
        line = self.devlxd.wait_for("is served")
        self.assertIn(f"(lxc in {self.home})", line)
        self.assertIn(f"(lxc in {self.home}/other)", line)
        self.assertIn("write 'runtime:' or 'lxcpath:' in the document", line)
        self.write(self.name, "secret of the other", lxcpath=f"{self.home}/other")
        wait_until(
            lambda: second.run(*CURL) != NOT_IN_CONTAINER, "the document is read"
        )
        self.assertEqual(second.run(*CURL), "secret of the other")
        self.assertEqual(first.run(*CURL), NOT_IN_CONTAINER)
        second.stop()
        self.write(self.name, OWN)
        wait_until(lambda: first.run(*CURL) == OWN, "the document is read")


def remove_cgroup(cgroup: Path) -> bool:
    """Remove a cgroup and all below it; return whether it has been removed."""
    with contextlib.suppress(OSError):
        for path, _, _ in os.walk(cgroup, topdown=False):
            os.rmdir(path)
    return not cgroup.exists()


class CrowdTests(ProcessTestCase):
    """Many concurrent callers."""

    skip = missing_requirement()

    def test_five_containers(self) -> None:
        """Each of many callers reads its own secret; all connections are closed."""
        home = make_home()
        self.addCleanup(shutil.rmtree, home)
        (home / "documents").mkdir()
        (home / "lxd").mkdir()
        containers = [
            LXCContainer(
                unique_name(str(n)), home, n * 100_000, {home / "lxd": "dev/lxd"}
            )
            for n in range(5)
        ]
        for container in containers:
            document = {"config": {"user.secret": container.name}}
            path = home / "documents" / f"{container.name}.json"
            path.write_text(json.dumps(document))
        devlxd = DevLXD(f"--containers={home}/documents", f"--listen={home}/lxd")
        self.addCleanup(devlxd.stop)
        for container in containers:
            container.start()
            self.addCleanup(container.stop)
            self.assertEqual(container.run(*CURL), container.name)
        before = devlxd.open_files()
        with ThreadPoolExecutor() as pool:
            crowds = [
                pool.submit(c.run, *python(CROWD, c.name, "200", "1000"))
                for c in containers
            ]
            counts = [json.loads(crowd.result()) for crowd in crowds]
        for count in counts:
            self.assertEqual(count, {"right": 1000, "wrong": {}})
        self.assertEqual(containers[0].run(*CURL), containers[0].name)
        devlxd.wait_for_files(before)


#: Sends requests from many processes at once; each sends one and ends.
CROWD = """
import collections, json

name, clients, requests = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
running, right, wrong = {}, 0, collections.Counter()

def start():
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, send_request(connect()).encode())
        except OSError as error:
            os.write(writer, repr(error).encode())
        os._exit(0)
    os.close(writer)
    running[pid] = reader

for _ in range(clients):
    start()
requests -= clients
while running:
    pid, _ = os.wait()
    with open(running.pop(pid), "rb") as reader:
        response = reader.read().decode()
    if response == name:
        right += 1
    else:
        wrong[response] += 1
    if requests:
        requests -= 1
        start()
print(json.dumps({"right": right, "wrong": wrong}))
"""

"""Tests of attacks by root of a container whose run and cgroups devlxd knows.

All attacks of `test_attacks` are tried again, and with all checks for each caller.
"""

from __future__ import annotations

import json
import os
import textwrap

from devlxd.fast_paths import VARIABLE, FastPath
from tests.integration import test_attacks
from tests.integration.guest_programs import python
from tests.integration.test_attacks import CURL, NOT_IN_CONTAINER, OF_VICTIM, OWN

#: Mounts cgroup v2, and sends a request from each of many cgroups.
CGROUPS = """
    set -e
    mkdir -p /tmp/cgroup
    mount -t cgroup2 none /tmp/cgroup
    for n in $(seq 200); do
        mkdir /tmp/cgroup/$n
        echo $$ >/tmp/cgroup/$n/cgroup.procs
        "$@"
        echo
    done
    echo $$ >/tmp/cgroup/cgroup.procs
    rmdir /tmp/cgroup/[0-9]*
"""

#: Sends requests while another process moves this one from cgroup to cgroup.
MOVED = """
    import json, signal, subprocess
    top = "/tmp/cgroup"
    os.makedirs(top, exist_ok=True)
    subprocess.run(["mount", "-t", "cgroup2", "none", top], check=True)
    cgroups = [f"{top}/a", f"{top}/a/lxc.payload.{sys.argv[1]}", f"{top}/b", top]
    for cgroup in cgroups:
        os.makedirs(cgroup, exist_ok=True)
    guest = os.getpid()
    mover = os.fork()
    if mover == 0:
        while True:
            for cgroup in cgroups:
                with open(f"{cgroup}/cgroup.procs", "w") as file:
                    file.write(str(guest))
    responses = [send_request(connect()) for _ in range(500)]
    os.kill(mover, signal.SIGKILL)
    os.wait()
    print(json.dumps(sorted(set(responses))))
"""

#: Connects in processes that end at once; their children send the requests.
LEFT = """
    import json
    responses = []
    for _ in range(100):
        reader, writer = os.pipe()
        if os.fork() == 0:
            guest = connect()
            if os.fork() == 0:
                os.write(writer, send_request(guest).encode())
            os._exit(0)
        os.wait()
        os.close(writer)
        with open(reader, "rb") as file:
            responses.append(file.read().decode())
    print(json.dumps(sorted(set(responses))))
"""


class KnownAttackTests(test_attacks.AttackTests):
    """Attacks of a container that devlxd knows on another one that it knows."""

    def setUp(self) -> None:
        super().setUp()
        for _ in range(2):
            self.assertEqual(self.attacker.run(*CURL), OWN)
            self.assertEqual(self.victim.run(*CURL), OF_VICTIM)

    def mounting(self, *command: str) -> list[str]:
        """Return a command that may mount."""
        return ["unshare", "-m", *command]

    def test_many_cgroups(self) -> None:
        """A guest is identified in each of many cgroups, and does not harm others."""
        script = ["bash", "-c", textwrap.dedent(CGROUPS), "-", *CURL]
        for _ in range(2):
            got = self.attacker.run(*self.mounting(*script))
            self.assertEqual(set(got.split("\n")), {OWN, ""})
            self.assertEqual(self.victim.run(*CURL), OF_VICTIM)

    def test_moved(self) -> None:
        """A process that is moved from cgroup to cgroup is always the attacker's."""
        program = python(MOVED, self.victim.name)
        got = self.attacker.run(*self.mounting(*program))
        self.assertEqual(json.loads(got), [OWN])

    def test_nested_namespaces(self) -> None:
        """In namespaces that come and go, each guest is that of its own container."""
        for _ in range(20):
            for container, secret in (
                (self.attacker, OWN),
                (self.victim, OF_VICTIM),
            ):
                nested = ["unshare", "-pf", "unshare", "-pf", *CURL]
                self.assertEqual(container.run(*nested), secret)

    def test_left_connections(self) -> None:
        """A connection whose process has ended is the attacker's, or is refused."""
        got = set(json.loads(self.attacker.run(*python(LEFT))))
        self.assertLessEqual(got, {OWN, NOT_IN_CONTAINER})

    def test_restarted(self) -> None:
        """A container that starts again is identified anew."""
        for _ in range(2):
            self.attacker.shut_down()
            self.attacker.boot()
            for _ in range(2):
                self.assertEqual(self.attacker.run(*CURL), OWN)
        self.assertEqual(self.victim.run(*CURL), OF_VICTIM)


class SlowAttackTests(test_attacks.AttackTests):
    """Attacks on a devlxd that makes all checks for each caller."""

    def setUp(self) -> None:
        self.patch(os, "environ", {**os.environ, VARIABLE: FastPath.CALLERS.value})
        super().setUp()

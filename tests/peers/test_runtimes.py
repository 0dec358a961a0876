"""Tests of `devlxd.peers.runtimes`, and the contracts of the runtimes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from devlxd.interfaces import IMonitoredRuntime, IRuntime, NotInContainer
from devlxd.model import Claim, Monitor
from devlxd.peers import runtimes
from devlxd.peers.runtimes import (
    DOCKER,
    PODMAN,
    LXCRuntime,
    NspawnRuntime,
    known_runtimes,
)
from devlxd.testing import MemoryMonitoredRuntime, MemoryRuntime
from devlxd.testing.contracts import MonitoredRuntimeContract, RuntimeContract

ID = "0123456789abcdef" * 4

#: The title that LXC, LXD and Incus write over the command line of a monitor.
TITLE = "[lxc monitor] {lxcpath} {name}\0"

#: The first words of the command line of a monitor in the foreground.
FOREGROUND = "lxc-start\0-F\0"

#: The cgroups that each runtime creates, and the claims of their containers.
LXC_CGROUPS = {
    "/lxc.payload.c1": Claim(name="c1"),
    "/lxc.payload.web_c1": Claim(name="web_c1"),
}

NSPAWN_CGROUPS = {
    "/machine.slice/machine-c1.scope": Claim(name="c1"),
    "/machine.slice/machine-my\\x2dhost.scope": Claim(name="my-host"),
    "/machine.slice/systemd-nspawn@my\\x2dhost.service": Claim(name="my-host"),
}

PODMAN_CGROUPS = {
    f"/machine.slice/libpod-{ID}.scope": Claim(id=ID),
    f"/libpod_parent/libpod-{ID}": Claim(id=ID),
}

DOCKER_CGROUPS = {
    f"/system.slice/docker-{ID}.scope": Claim(id=ID),
    f"/docker/{ID}": Claim(id=ID),
}

ALL_CGROUPS = {**LXC_CGROUPS, **NSPAWN_CGROUPS, **PODMAN_CGROUPS, **DOCKER_CGROUPS}

#: Cgroups that belong to no container, or that users other than the host's root
#: can create.
OTHER_CGROUPS = [
    "",
    "/",
    "/lxc.payload.",
    "/lxc.payload",
    "/lxc.payload/c1",
    "/lxc.monitor.c1",
    "/xlxc.payload.c1",
    "/lxcxpayload.c1",
    "/lxc",
    "/lxc.payload.c1 (deleted)",
    "/user.slice/lxc.payload.victim",
    "/../lxc.payload.victim",
    "//lxc.payload.victim",
    "lxc.payload.victim",
    "/machine.slice",
    "/machine.slice/machine-.scope",
    "/machine.slice/machine-a-b.scope",
    "/machine.slice/machine-\\x2e\\x2e.scope",
    "/machine.slice/machine-c1.scope.d",
    "/user.slice/machine-c1.scope",
    f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope",
    f"/machine.slice/libpod-{ID}0.scope",
    f"/machine.slice/libpod-conmon-{ID}.scope",
    f"/machine.slice/libpod-{ID.upper()}.scope",
    f"/system.slice/docker-{ID[:12]}.scope",
    f"/x/docker/{ID}",
]


@implementer(IPlugin, IRuntime)
class JailRuntime:
    """The runtime of a host agent, which creates the cgroups ``/jails/NAME``."""

    name = "jails"

    def claim(self, cgroup: str) -> Claim | None:
        """See `IRuntime.claim`."""
        _, jails, name = (cgroup + "//").split("/")[:3]
        return Claim(name=name) if jails == "jails" and name else None


def monitor_with(
    command_line: str,
    program: str = "/usr/bin/lxc-start",
    cgroup: str = "/lxc.monitor.c1",
) -> Monitor:
    """Return a monitor of LXC."""
    return Monitor(program, command_line, ("/", cgroup))


class LXCRuntimeContractTests(MonitoredRuntimeContract, SynchronousTestCase):
    """The contract of `IMonitoredRuntime`, run on `LXCRuntime`."""

    def make_runtime(self) -> IRuntime:
        return LXCRuntime()

    def own_cgroups(self) -> Mapping[str, Claim]:
        return LXC_CGROUPS

    def confirmations(self) -> Collection[tuple[Claim, Monitor, Claim]]:
        titled = monitor_with(TITLE.format(lxcpath="/var/lib/lxc", name="c1"))
        confirmed = Claim("c1", runtime="lxc", lxcpath="/var/lib/lxc")
        return [
            (Claim("c1"), titled, confirmed),
            (Claim("c1-1"), titled, confirmed),
            (
                Claim("c1-1"),
                monitor_with(f"{FOREGROUND}-n\0c1\0"),
                Claim("c1", runtime="lxc"),
            ),
        ]

    def contradictions(self) -> Collection[tuple[Claim, Monitor]]:
        title = TITLE.format(lxcpath="/var/lib/lxc", name="c1")
        return [
            (Claim("c2"), monitor_with(title)),
            (Claim("c1"), monitor_with(title, cgroup="/init.scope")),
            (Claim("c1-1"), monitor_with("agent\0c1\0", "/usr/bin/agent")),
        ]


class NspawnRuntimeContractTests(RuntimeContract, SynchronousTestCase):
    """The contract of `IRuntime`, run on `NspawnRuntime`."""

    def make_runtime(self) -> IRuntime:
        return NspawnRuntime()

    def own_cgroups(self) -> Mapping[str, Claim]:
        return NSPAWN_CGROUPS


class PodmanContractTests(RuntimeContract, SynchronousTestCase):
    """The contract of `IRuntime`, run on `PODMAN`."""

    def make_runtime(self) -> IRuntime:
        return PODMAN

    def own_cgroups(self) -> Mapping[str, Claim]:
        return PODMAN_CGROUPS


class DockerContractTests(RuntimeContract, SynchronousTestCase):
    """The contract of `IRuntime`, run on `DOCKER`."""

    def make_runtime(self) -> IRuntime:
        return DOCKER

    def own_cgroups(self) -> Mapping[str, Claim]:
        return DOCKER_CGROUPS


class JailRuntimeContractTests(RuntimeContract, SynchronousTestCase):
    """The runtime of the example in ``docs/security.rst``."""

    def make_runtime(self) -> IRuntime:
        return JailRuntime()

    def own_cgroups(self) -> Mapping[str, Claim]:
        return {"/jails/c1": Claim("c1"), "/jails/my-jail": Claim("my-jail")}


class MemoryRuntimeContractTests(RuntimeContract, SynchronousTestCase):
    """The contract of `IRuntime`, run on `MemoryRuntime`."""

    def make_runtime(self) -> IRuntime:
        return MemoryRuntime(self.own_cgroups())

    def own_cgroups(self) -> Mapping[str, Claim]:
        return {"/memory/c1": Claim("c1"), "/memory/c10": Claim(id="10")}


class MemoryMonitoredRuntimeContractTests(
    MonitoredRuntimeContract, SynchronousTestCase
):
    """The contract of `IMonitoredRuntime`, run on `MemoryMonitoredRuntime`."""

    def make_runtime(self) -> IRuntime:
        monitors = {
            (claim, monitor.command_line): confirmed
            for claim, monitor, confirmed in self.confirmations()
        }
        return MemoryMonitoredRuntime(self.own_cgroups(), monitors)

    def own_cgroups(self) -> Mapping[str, Claim]:
        return {"/memory/c1": Claim("c1")}

    def confirmations(self) -> Collection[tuple[Claim, Monitor, Claim]]:
        monitor = Monitor("/monitor", "monitor\0c1\0", ("/",))
        return [(Claim("c1"), monitor, Claim("c1", runtime="memory"))]

    def contradictions(self) -> Collection[tuple[Claim, Monitor]]:
        return [(Claim("c1"), Monitor("/monitor", "monitor\0c2\0", ("/",)))]


class KnownRuntimesTests(SynchronousTestCase):
    """`known_runtimes`: all runtimes of devlxd together."""

    def claims(self, cgroup: str) -> list[Claim]:
        """Return the claims of all runtimes to ``cgroup``."""
        claims = [runtime.claim(cgroup) for runtime in known_runtimes()]
        return [claim for claim in claims if claim is not None]

    def test_interface(self) -> None:
        """Each runtime provides `IRuntime`."""
        for runtime in (*known_runtimes(), MemoryRuntime(), JailRuntime()):
            self.assertTrue(verifyObject(IRuntime, runtime))
        self.assertTrue(verifyObject(IMonitoredRuntime, LXCRuntime()))

    def test_names(self) -> None:
        """Each runtime has the name that documents use."""
        self.assertEqual(
            [runtime.name for runtime in known_runtimes()],
            ["lxc", "nspawn", "podman", "docker"],
        )

    def test_one_claim(self) -> None:
        """Only one runtime claims the cgroup of a container."""
        for cgroup, claim in ALL_CGROUPS.items():
            self.assertEqual(self.claims(cgroup), [claim])

    @given(st.text(), st.sampled_from(list(ALL_CGROUPS)))
    def test_below(self, below: str, other: str) -> None:
        """All cgroups below that of a container belong to it; guests name them."""
        for cgroup, claim in ALL_CGROUPS.items():
            for path in (f"{cgroup}/{below}", f"{cgroup}{other}", f"{cgroup}//{other}"):
                self.assertEqual(self.claims(path), [claim])

    def test_no_claim(self) -> None:
        """No runtime claims a cgroup that is not that of a container."""
        for cgroup in OTHER_CGROUPS:
            self.assertEqual(self.claims(cgroup), [], cgroup)

    def test_plugin_is_found(self) -> None:
        """A host agent's plugin is found where Twisted looks for plugins."""
        plugins = Path(tempfile.mkdtemp(dir=".")).absolute() / "twisted" / "plugins"
        plugins.mkdir(parents=True)
        (plugins / "jails.py").write_text(
            "from tests.peers.test_runtimes import JailRuntime\njails = JailRuntime()\n"
        )
        code = (
            "from devlxd.peers.runtimes import known_runtimes\n"
            "print([r.claim('/jails/c1') for r in known_runtimes()][-1].name)"
        )
        project = Path(__file__).parents[2]
        path = os.pathsep.join([str(plugins.parents[1]), str(project)])
        printed = subprocess.check_output(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}
        )
        self.assertEqual(printed, b"c1\n")

    def test_plugin(self) -> None:
        """A host agent's plugin is used together with the built-in runtimes."""
        plugins = {IRuntime: [JailRuntime()]}
        self.patch(runtimes, "getPlugins", plugins.get)
        self.assertEqual(self.claims("/jails/c1/x"), [Claim(name="c1")])
        self.assertEqual(self.claims("/lxc.payload.c1"), [Claim(name="c1")])
        self.assertEqual(self.claims("/x/jails/c1"), [])


class LXCMonitorTests(SynchronousTestCase):
    """`LXCRuntime.confirm`."""

    def confirm(
        self,
        cgroup_name: str,
        command_line: str,
        program: str = "/usr/bin/lxc-start",
        monitor_cgroup: str = "/lxc.monitor.c1",
    ) -> Claim:
        """Return the claim that a monitor confirms for a container's cgroup."""
        monitor = monitor_with(command_line, program, monitor_cgroup)
        return LXCRuntime().confirm(Claim(cgroup_name), monitor)

    def assert_refused(self, *arguments: str) -> None:
        """Check that a run belongs to no container; see `confirm`."""
        error = self.assertRaises(NotInContainer, self.confirm, *arguments)
        self.assertEqual(error.kind, "monitor")

    def test_title(self) -> None:
        """The title shows the name and the LXC path, and the program the runtime."""
        for program, runtime, lxcpath in (
            ("/usr/bin/lxc-start", "lxc", "/var/lib/lxc"),
            ("/usr/bin/python3.11", "lxc", "/srv/my containers"),
            ("/usr/bin/lxd", "lxd", "/var/lib/lxd/containers"),
            ("/snap/lxd/24322/bin/lxd", "lxd", "/var/snap/lxd/common/lxd/containers"),
            ("/usr/libexec/incus/incusd", "incus", "/var/lib/incus/containers"),
        ):
            claim = self.confirm(
                "web_c1", TITLE.format(lxcpath=lxcpath, name="web_c1"), program
            )
            self.assertEqual(claim, Claim("web_c1", "", runtime, lxcpath))

    def test_numbered(self) -> None:
        """The title may lack one number that LXC has appended for the cgroup."""
        for cgroup_name, name in (
            ("c1-1", "c1"),
            ("c1-23", "c1"),
            ("c1-1", "c1-1"),
            ("c1-1-2", "c1-1"),
        ):
            command_line = TITLE.format(lxcpath="/var/lib/lxc", name=name)
            self.assertEqual(self.confirm(cgroup_name, command_line).name, name)

    def test_another(self) -> None:
        """The title of another container is a contradiction."""
        for cgroup_name, name in (
            ("c1", "c2"),
            ("c1", "c1-1"),
            ("c1-1", "c1-2"),
            ("c1-1-1", "c1"),
            ("c1-x", "c1"),
            ("c11", "c1"),
        ):
            command_line = TITLE.format(lxcpath="/var/lib/lxc", name=name)
            self.assert_refused(cgroup_name, command_line)

    def test_foreground(self) -> None:
        """If the monitor runs in the foreground, its command line has the name."""
        for words in (
            "-n\0c1-1\0",
            "-nc1-1\0",
            "-Fn\0c1-1\0",
            "--name=c1-1\0",
            "--name\0c1-1\0",
            "c1-1\0--\0/sbin/init\0",
        ):
            claim = self.confirm("c1-1", FOREGROUND + words)
            self.assertEqual(claim, Claim("c1-1", runtime="lxc"))
            self.assertEqual(self.confirm("c1-1-1", FOREGROUND + words), claim)
            self.assert_refused("c1", FOREGROUND + words)
        self.assert_refused("c1-1", FOREGROUND + "-n\0c1\0--\0c1-1\0")

    def test_untitled(self) -> None:
        """A run of another program is refused if two containers may have its cgroup."""
        agent = "/usr/bin/agent"
        for command_line in (
            "agent\0c1\0",
            "",
            TITLE.format(lxcpath="/" * 2048, name="c1"),
            "[lxc monitor] c1\0",
        ):
            self.assertEqual(self.confirm("c1", command_line, agent), Claim("c1"))
            self.assert_refused("c1-1", command_line, agent)

    def test_no_monitor(self) -> None:
        """A parent that is not in the cgroup of a monitor is not a monitor.

        It may be the process that adopted the init when the monitor was killed, or
        root of a privileged container in the host's pid namespace. Its title
        is ignored.
        """
        for command_line in (
            "/sbin/init\0",
            "lxc-start\0-F\0-n\0c1\0",
            TITLE.format(lxcpath="/var/lib/lxc", name="c1"),
        ):
            for monitor_cgroup in ("/init.scope", "/lxc.payload.c1-1/lxc.monitor.c1"):
                for name in ("c1", "c1-1"):
                    self.assert_refused(
                        name, command_line, "/usr/bin/lxc-start", monitor_cgroup
                    )

"""Tests of `devlxd.peers.runtimes`, and the contract of `IRuntime`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
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
from devlxd.testing import MemoryRuntime

ID = "0123456789abcdef" * 4

#: What each runtime makes, and whose it is.
OWN = [
    (LXCRuntime(), "/lxc.payload.c1", Claim(name="c1")),
    (LXCRuntime(), "/lxc.payload.web_c1", Claim(name="web_c1")),
    (NspawnRuntime(), "/machine.slice/machine-c1.scope", Claim(name="c1")),
    (
        NspawnRuntime(),
        "/machine.slice/machine-my\\x2dhost.scope",
        Claim(name="my-host"),
    ),
    (
        NspawnRuntime(),
        "/machine.slice/systemd-nspawn@my\\x2dhost.service",
        Claim(name="my-host"),
    ),
    (PODMAN, f"/machine.slice/libpod-{ID}.scope", Claim(id=ID)),
    (PODMAN, f"/libpod_parent/libpod-{ID}", Claim(id=ID)),
    (DOCKER, f"/system.slice/docker-{ID}.scope", Claim(id=ID)),
    (DOCKER, f"/docker/{ID}", Claim(id=ID)),
]

#: What is nobody's, or not the host's to have made.
NOBODYS = [
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
    """A runtime of a host agent: ``/jails/NAME``."""

    name = "jails"

    def claim(self, cgroup: str) -> Claim | None:
        """See `IRuntime.claim`."""
        _, jails, name = (cgroup + "//").split("/")[:3]
        return Claim(name=name) if jails == "jails" and name else None


class RuntimeTests(SynchronousTestCase):
    """The contract, and the cgroups of each runtime."""

    def claims(self, cgroup: str) -> list[Claim]:
        """Ask all runtimes whose ``cgroup`` is."""
        claims = [runtime.claim(cgroup) for runtime in known_runtimes()]
        return [claim for claim in claims if claim is not None]

    def test_interface(self) -> None:
        """Each is a runtime."""
        for runtime in (*known_runtimes(), MemoryRuntime(), JailRuntime()):
            self.assertTrue(verifyObject(IRuntime, runtime))
        self.assertTrue(verifyObject(IMonitoredRuntime, LXCRuntime()))

    def test_names(self) -> None:
        """Each has a name, which documents may ask for."""
        self.assertEqual(
            [runtime.name for runtime in known_runtimes()],
            ["lxc", "nspawn", "podman", "docker"],
        )

    def test_own(self) -> None:
        """Each knows what it made, and nobody else claims it."""
        for runtime, cgroup, claim in OWN:
            self.assertEqual(runtime.claim(cgroup), claim)
            self.assertEqual(self.claims(cgroup), [claim])

    @given(st.text(), st.sampled_from([cgroup for _, cgroup, _ in OWN]))
    def test_what_a_guest_made(self, below: str, other: str) -> None:
        """Whatever a guest makes below its own cgroup, the claim stays the same."""
        for _runtime, cgroup, claim in OWN:
            for path in (f"{cgroup}/{below}", f"{cgroup}{other}", f"{cgroup}//{other}"):
                self.assertEqual(self.claims(path), [claim])

    def test_nobodys(self) -> None:
        """What no host's root can have made is nobody's."""
        for cgroup in NOBODYS:
            self.assertEqual(self.claims(cgroup), [], cgroup)

    def test_plugin_is_found(self) -> None:
        """A plugin of a host agent is found where Twisted looks for plugins."""
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
        """A runtime that a host agent brings as a plugin is asked as well."""
        plugins = {IRuntime: [JailRuntime()]}
        self.patch(runtimes, "getPlugins", plugins.get)
        self.assertEqual(self.claims("/jails/c1/x"), [Claim(name="c1")])
        self.assertEqual(self.claims("/lxc.payload.c1"), [Claim(name="c1")])
        self.assertEqual(self.claims("/x/jails/c1"), [])


#: What LXC, LXD and Incus write over the command line of their monitor.
TITLE = "[lxc monitor] {lxcpath} {name}\0"

FOREGROUND = "lxc-start\0-F\0"


class MonitorTests(SynchronousTestCase):
    """What the monitor of an LXC container says of it."""

    def confirm(
        self,
        name: str,
        command: str,
        program: str = "/usr/bin/lxc-start",
        cgroup: str = "/lxc.monitor.c1",
    ) -> Claim:
        """Ask whose a run is in the cgroup of ``name``, with such a monitor."""
        monitor = Monitor(program, command, ("/", cgroup))
        return LXCRuntime().confirm(Claim(name), monitor)

    def assert_refused(self, *arguments: str) -> None:
        """Check that the run is nobody's."""
        error = self.assertRaises(NotInContainer, self.confirm, *arguments)
        self.assertEqual(error.kind, "monitor")

    def test_title(self) -> None:
        """It says the name, the LXC path and, by its program, the runtime."""
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
        """A number that LXC has put behind the name is left out, and only one."""
        for cgroup, name in (
            ("c1-1", "c1"),
            ("c1-23", "c1"),
            ("c1-1", "c1-1"),
            ("c1-1-2", "c1-1"),
        ):
            command = TITLE.format(lxcpath="/var/lib/lxc", name=name)
            self.assertEqual(self.confirm(cgroup, command).name, name)

    def test_another(self) -> None:
        """A monitor of another container confirms nothing."""
        for cgroup, name in (
            ("c1", "c2"),
            ("c1", "c1-1"),
            ("c1-1", "c1-2"),
            ("c1-1-1", "c1"),
            ("c1-x", "c1"),
            ("c11", "c1"),
        ):
            command = TITLE.format(lxcpath="/var/lib/lxc", name=name)
            self.assert_refused(cgroup, command)

    def test_foreground(self) -> None:
        """In the foreground the command line has the name."""
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
        """Another program's container is the one that alone can have its cgroup."""
        agent = "/usr/bin/agent"
        for command in (
            "agent\0c1\0",
            "",
            TITLE.format(lxcpath="/" * 2048, name="c1"),
            "[lxc monitor] c1\0",
        ):
            self.assertEqual(self.confirm("c1", command, agent), Claim("c1"))
            self.assert_refused("c1-1", command, agent)

    def test_no_monitor(self) -> None:
        """Who has taken the place of a monitor that was killed is none.

        Nor is the privileged root of a container that is in the host's pid
        namespace, whatever its title says.
        """
        for command in (
            "/sbin/init\0",
            "lxc-start\0-F\0-n\0c1\0",
            TITLE.format(lxcpath="/var/lib/lxc", name="c1"),
        ):
            for cgroup in ("/init.scope", "/lxc.payload.c1-1/lxc.monitor.c1"):
                for name in ("c1", "c1-1"):
                    self.assert_refused(name, command, "/usr/bin/lxc-start", cgroup)

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

from devlxd.interfaces import IRuntime
from devlxd.model import Claim
from devlxd.peers import runtimes
from devlxd.peers.runtimes import (
    LXCRuntime,
    NspawnRuntime,
    OCIRuntime,
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
    (OCIRuntime(), f"/machine.slice/libpod-{ID}.scope", Claim(id=ID)),
    (OCIRuntime(), f"/libpod_parent/libpod-{ID}", Claim(id=ID)),
    (OCIRuntime(), f"/system.slice/docker-{ID}.scope", Claim(id=ID)),
    (OCIRuntime(), f"/docker/{ID}", Claim(id=ID)),
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

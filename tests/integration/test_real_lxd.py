"""Tests that a real LXD and devlxd send the same events and responses."""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from devlxd.model import Claim
from devlxd.peers.cgroup_claims import CgroupClaims
from devlxd.peers.init_identifier import InitIdentifier
from devlxd.peers.processes import ProcFS
from devlxd.peers.runtimes import known_runtimes
from tests.integration.guest_programs import SUBSCRIPTION, Barrier, python
from tests.integration.lxc import (
    INIT,
    UNTIL_READY,
    LXCContainer,
    cgroup_hierarchies,
    make_home,
    unique_name,
)
from tests.integration.lxd import LXD, missing_lxd
from tests.integration.processes import TIMEOUT, ProcessTestCase, wait_until
from tests.integration.servers import DevLXD

#: Subscribes to events, and sends them to the host.
SUBSCRIBE = f"""{SUBSCRIPTION}
    for line in lines:
        host.sendall(line)
"""

#: The config key with the number of the last change.
MARK = "user.mark"

CHANGES = 200


def generate_changes() -> Iterator[list[str]]:
    """Yield changes: arguments of ``lxc``, with ``NAME`` for the container.

    LXD and devlxd are expected to send the same events for each. No key is set
    both in the profile and in the container: when it is unset in the container,
    LXD sends an event without a new value, although the guest reads the value of
    the profile from then on. devlxd sends that value.
    """
    generator = random.Random(42)
    keys = ["user.a", "user.b", "user.a/b"]
    profile_keys = ["user.p", "user.q", "limits.cpu"]
    set_keys: set[str] = set()
    profiles: set[str] = set()
    devices: set[str] = set()
    for n in range(CHANGES):
        kind = generator.randrange(9)
        if kind <= 1:
            key = generator.choice(keys)
            set_keys.add(key)
            yield ["config", "set", "NAME", f"{key}=value {n}"]
        elif kind == 2:
            yield ["config", "set", "NAME", "boot.autostart.priority", str(n)]
        elif kind == 3 and set_keys:
            key = generator.choice(sorted(set_keys))
            set_keys.remove(key)
            yield ["config", "unset", "NAME", key]
        elif kind == 4:
            key = generator.choice(profile_keys)
            value = f"{n % 4 + 1}" if key == "limits.cpu" else f"of the profile {n}"
            yield ["profile", "set", "default", key, value]
        elif kind == 5 and len(devices) < 5:
            devices.add(f"d{n}")
            path = f"path=/mnt/{n}"
            yield ["config", "device", "add", "NAME", f"d{n}", *_DISK, path]
        elif kind == 6 and devices:
            device = generator.choice(sorted(devices))
            yield ["config", "device", "set", "NAME", device, f"path=/mnt/x{n}"]
        elif kind == 7 and "extra" in profiles:
            profiles.remove("extra")
            yield ["profile", "remove", "NAME", "extra"]
        elif kind == 7:
            profiles.add("extra")
            yield ["profile", "add", "NAME", "extra"]
        elif devices:
            device = generator.choice(sorted(devices))
            devices.remove(device)
            yield ["config", "device", "remove", "NAME", device]
        else:
            yield ["profile", "set", "default", "user.p", ""]


_DISK = ["disk", "source=/usr/share"]


class RealLXDTests(ProcessTestCase):
    """A real LXD, and a devlxd that reads the records of that LXD."""

    skip = missing_lxd()

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        for name in ("sockets", "shared", "init"):
            (self.home / name).mkdir()
        (self.home / "shared").chmod(0o777)
        (self.home / "init").chmod(0o777)
        (self.home / "init" / "init.py").write_text(INIT)
        self.lxd = LXD(self.home)
        self.lxd.start()
        self.addCleanup(self.lxd.stop)
        self.lxd.lxc("profile", "create", "extra")
        self.lxd.lxc("profile", "set", "extra", "user.extra", "of the profile")
        self.lxd.lxc("profile", "device", "add", "extra", "more", *_DISK, "path=/more")
        self.name = unique_name("real")
        devlxd = DevLXD(
            f"--containers={self.lxd.containers}", f"--listen={self.home}/sockets"
        )
        self.addCleanup(devlxd.stop)
        binds = {
            self.home / "sockets": "dev/devlxd",
            self.home / "shared": "run/shared",
            self.home / "init": "run/init",
        }
        self.lxd.start_container(self.name, binds)
        self.container = LXCContainer(self.name, self.home)
        self.lxd.lxc("exec", self.name, "--", "sh", "-c", UNTIL_READY)

    def lxc(self, arguments: list[str]) -> None:
        """Run LXD's client, with the container's name for ``NAME``."""
        named = [self.name if word == "NAME" else word for word in arguments]
        self.lxd.lxc(*named)

    def test_events(self) -> None:
        """LXD and devlxd send equal events for 200 changes, see `normalized`."""
        kinds: Counter[str] = Counter()
        with ThreadPoolExecutor() as pool, Barrier(self.home / "shared") as barrier:
            for name, path in (("lxd", "/dev/lxd"), ("devlxd", "/dev/devlxd")):
                command = python(SUBSCRIBE, name, f"{path}/sock")
                pool.submit(self.container.run_at, self.home / "init", *command)
            theirs, _ = barrier.wait_for(b"lxd")
            ours, _ = barrier.wait_for(b"devlxd")
            for n, change in enumerate(generate_changes()):
                self.lxc(change)
                self.lxc(["config", "set", "NAME", f"{MARK}={n}"])
                got, expected = events_until(str(n), ours, theirs)
                self.assertEqual(got, expected, change)
                kinds.update(kind for kind, *_ in got)
            self.lxd.lxc("stop", "-f", self.name)
        self.assertGreater(kinds["config"], 60, kinds)
        self.assertGreater(kinds["device"], 30, kinds)

    def test_responses(self) -> None:
        """LXD and devlxd send the same responses."""
        self.lxc(["config", "set", "NAME", "user.a=some value"])
        self.lxc(["config", "set", "NAME", "user.meta-data=a: b"])
        for path in (
            "/",
            "/1.0/config/user.a",
            "/1.0/config/user.b",
            "/1.0/config/limits.cpu",
            "/1.0/meta-data",
        ):
            theirs, ours = (
                self.container.run_at(
                    self.home / "init",
                    *("curl", "-s", "-w", "%{http_code}", "--retry", "3"),
                    *("--unix-socket", f"/dev/{name}/sock", f"http://lxd{path}"),
                )
                for name in ("lxd", "devlxd")
            )
            self.assertEqual(ours, theirs, path)

    def test_stale_cgroup(self) -> None:
        """A container is identified despite a stale cgroup with its name."""
        self.lxd.lxc("config", "set", self.name, "user.secret", "its own")
        self.lxd.lxc("stop", "-f", self.name)
        (self.home / "init" / "sock").unlink()
        for top in cgroup_hierarchies():
            path = top / f"lxc.payload.{self.name}"
            path.mkdir()
            self.addCleanup(path.rmdir)
        self.lxd.lxc("start", self.name)
        init = int(self.lxd.lxc("list", "-f", "csv", "-c", "p", self.name))
        processes = ProcFS()
        claims = CgroupClaims(processes, known_runtimes())
        identified = InitIdentifier(processes, claims).identify(init)
        assert identified.monitor_pidfd is not None
        os.close(identified.monitor_pidfd)
        self.assertEqual(identified.cgroup_claim, Claim(f"{self.name}-1"))
        lxcpath = str(self.lxd.containers)
        self.assertEqual(
            identified.confirmed_claim,
            Claim(self.name, runtime="lxd", lxcpath=lxcpath),
        )
        curl = ["curl", "-s", "--unix-socket", "/dev/devlxd/sock"]
        request = [*curl, "http://lxd/1.0/config/user.secret"]
        wait_until((self.home / "init" / "sock").exists, "the container runs")
        response = self.container.run_at(self.home / "init", *request)
        self.assertEqual(response, "its own")


#: Events as `normalized` returns them.
Normalized = Counter[tuple[str, str, str, str]]

Event = dict[str, Any]


def events_until(
    mark: str,
    ours: socket.socket,
    theirs: socket.socket,
    only_ours: Normalized | None = None,
) -> tuple[Normalized, Normalized]:
    """Receive events until both servers have sent the mark and equal events.

    LXD sends each event in a goroutine of its own, in any order.

    :param only_ours: the events that only devlxd is expected to send.
    :return: our events and the expected ones, equal or not, after at most `TIMEOUT`.
    """
    only_ours = only_ours or Counter()
    received: dict[socket.socket, list[Event]] = {ours: [], theirs: []}
    unmarked = {ours, theirs}
    end = time.monotonic() + TIMEOUT
    while True:
        got = normalized(received[ours])
        expected = normalized(received[theirs]) + only_ours
        if not unmarked and got == expected:
            break
        ready, _, _ = select.select(received, [], [], max(0, end - time.monotonic()))
        if not ready:
            assert not unmarked, f"{mark} is missing: {received}"
            break
        for connection in ready:
            event = receive(connection)
            if event is None:
                continue
            metadata = event["metadata"]
            if metadata.get("key") != MARK:
                received[connection].append(event)
            elif metadata["value"] == mark:
                unmarked.discard(connection)
    return got, expected


def receive(connection: socket.socket) -> Event | None:
    """Receive an event; return ``None`` for an empty line, which is a keep-alive."""
    line = connection.recv(100_000)
    assert line, "the stream has ended"
    return json.loads(line) if line.strip() else None


def normalized(events: list[Event]) -> Normalized:
    """Return events without the known differences between LXD and devlxd.

    * Timestamps are left out, and the order, which varies with LXD.
    * devlxd always reports a changed device as ``updated``, as in the published
      specification (LXD's dev-lxd document). LXD does so for devices that it can
      change in a running container; it reports others as removed and added.
    """
    found = []
    for event in events:
        data = event["metadata"]
        if event["type"] == "config":
            found.append(("config", data["key"], data["old_value"], data["value"]))
        else:
            config = json.dumps(data["config"], sort_keys=True)
            found.append(("device", data["name"], data["action"], config))
    removed = {entry[1] for entry in found if entry[2] == "removed"}
    added = {entry[1] for entry in found if entry[2] == "added"}
    both = removed & added
    return Counter(
        (kind, name, "updated" if kind == "device" and name in both else what, value)
        for kind, name, what, value in found
        if not (kind == "device" and name in both and what == "removed")
    )

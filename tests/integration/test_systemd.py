"""Tests of the package under a real systemd: restarts, crashes, and what systemd shows.

Guests ask and listen without a pause meanwhile, see `tests.integration.restart_load`.
``python -m benchmarks.systemd_restarts`` does the same with higher numbers.
"""

from __future__ import annotations

import shutil
import stat
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.integration.cloud_guest import missing_requirement
from tests.integration.debian_packages import with_version
from tests.integration.lxc import make_home, unique_name
from tests.integration.processes import ProcessTestCase, wait_until
from tests.integration.systemd_hosts import CONTAINERS, SERVICE, Result, SystemdHost
from tests.integration.test_deb import built_packages

#: The guests, and how many there are for many streams.
GUESTS = ["c1", "c2", "c3", "c4"]

#: Leaves an entry in the descriptor store that no devlxd can read, until it is stopped:
#: connections whose record is damaged.
UNREADABLE = """
import array, os, socket, time
peer, ours = socket.socketpair()
writing, reading = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
record = os.memfd_create("record")
os.write(record, b"devlxd-handover 9 2 x\\n[]")
socket.send_fds(writing, [b"+"], [record, ours.fileno()])
writing.close()
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
    manager.connect(os.environ["NOTIFY_SOCKET"])
    entry = b"FDSTORE=1\\nFDNAME=devlxd-connections\\nFDPOLL=0"
    socket.send_fds(manager, [entry], [reading.fileno()])
    manager.send(b"READY=1")
time.sleep(1000)
"""

#: The time between two keys that are added, in seconds.
PACE = 0.01

#: The time between two restarts, in seconds, in which guests ask.
PAUSE = 0.5


def report(line: str) -> None:
    """Print a figure."""
    sys.stdout.write(f"\n    {line} ")


class HostTestCase(ProcessTestCase):
    """A base class of tests on a host with systemd."""

    skip = missing_requirement()

    def setUp(self) -> None:
        (self.package,) = Path(built_packages().name, "trixie").glob("*.deb")
        home = make_home()
        self.addCleanup(shutil.rmtree, home)
        self.host = SystemdHost(unique_name("systemd"), home)
        self.addCleanup(self.host.stop)
        self.host.start(self.package)
        self.socket = self.host.socket()

    def assert_same_socket(self) -> None:
        """Check that the guests' socket is still the one that systemd has made."""
        self.assertEqual(self.host.socket(), self.socket)
        self.assertEqual(
            stat.S_IMODE(self.host.path("/run/devlxd").stat().st_mode), 0o755
        )

    def assert_flawless(self, result: Result, keys: int) -> None:
        """Check that guests have noticed nothing but a slow question."""
        self.assertEqual(result.refused, 0)
        self.assertEqual(dict(result.failed), {})
        self.assertEqual(dict(result.ended), {})
        self.assertEqual(result.flawless(keys), len(result.heard))
        self.assertEqual(set(result.asked), {"fresh", "kept", "half"})


class RestartTests(HostTestCase):
    """Restarts that guests do not notice, and crashes."""

    def test_restarts(self) -> None:
        """Restarts and upgrades refuse no connect, fail no question, break no stream.

        Each stream receives the keys that are added meanwhile, once and in order.
        """
        guests = GUESTS[:2]
        later = with_version(self.package, "1:1.0", self.host.home)
        load = self.host.start_load(guests, callers=2, plain=25, websockets=25)
        with ThreadPoolExecutor(1) as pool:
            adding = pool.submit(self.host.add_keys, guests, 300, PACE)
            for _ in range(5):
                self.host.systemctl("restart", SERVICE)
                time.sleep(PAUSE)
            self.host.install(later)
            adding.result()
        result = load.stop(300)
        report(
            f"{dict(result.asked)} questions, the slowest took {result.slowest:.2f} s"
        )
        self.assert_flawless(result, 300)
        self.assert_same_socket()

    def test_each(self) -> None:
        """So it is at a socket for each container."""
        guests = GUESTS[:2]
        listen = (
            "listen: [systemd:domain=UNIX:name=devlxd, 'each:/var/lib/devlxd/each']"
        )
        config = "/etc/devlxd.yaml"
        self.host.shell(f'echo "{listen}\ncontainers: {CONTAINERS}" >{config}')
        self.host.systemctl("restart", SERVICE)
        load = self.host.start_load(guests, 2, 25, 25, "/var/lib/devlxd/each/NAME/sock")
        with ThreadPoolExecutor(1) as pool:
            adding = pool.submit(self.host.add_keys, guests, 300, PACE)
            for _ in range(5):
                self.host.systemctl("restart", SERVICE)
                time.sleep(PAUSE)
            adding.result()
        result = load.stop(300)
        report(
            f"{dict(result.asked)} questions, the slowest took {result.slowest:.2f} s"
        )
        self.assert_flawless(result, 300)
        self.assertEqual(self.host.count_logged("2 sockets of containers are left"), 5)

    def test_kills(self) -> None:
        """After ``kill -9`` no connect is refused; streams continue with ``since``."""
        load = self.host.start_load(GUESTS[:1], callers=2, plain=5, websockets=5)
        with ThreadPoolExecutor(1) as pool:
            adding = pool.submit(self.host.add_keys, GUESTS[:1], 150, PACE)
            for _ in range(3):
                self.host.signal("KILL")
            adding.result()
        result = load.stop(150)
        self.assertEqual(result.refused, 0)
        self.assertEqual(result.flawless(150), 10)
        self.assert_same_socket()

    def test_many_streams(self) -> None:
        """1000 streams survive a restart."""
        load = self.host.start_load(GUESTS, callers=1, plain=125, websockets=125)
        start = time.monotonic()
        self.host.systemctl("restart", SERVICE)
        report(f"restart with 1000 streams: {time.monotonic() - start:.2f} s")
        self.host.add_keys(GUESTS, 1)
        result = load.stop(1)
        self.assertEqual(len(result.heard), 1000)
        self.assert_flawless(result, 1)


class ServiceTests(HostTestCase):
    """The unit."""

    def test_service(self) -> None:
        """The service is confined, shows its state, reloads, and can be stopped."""
        level = self.host.security()
        report(f"systemd-analyze security: {level}")
        self.assertLessEqual(level, 2.0)
        self.assertEqual(self.host.show("User"), "devlxd")
        self.host.add_keys(["c1"], 0)
        pid = self.host.main_pid()
        self.host.systemctl("reload", SERVICE)
        wait_until(
            lambda: self.host.count_logged("reading all documents in"),
            "devlxd has reloaded",
        )
        wait_until(
            lambda: self.host.show("StatusText").startswith("serving 1 containers"),
            "the status is up to date",
        )
        self.assertEqual(self.host.main_pid(), pid)
        load = self.host.start_load(["c1"], callers=1, plain=1, websockets=1)
        self.host.systemctl("stop", SERVICE)
        self.host.systemctl("start", SERVICE)
        result = load.stop()
        # The streams end when devlxd is stopped for good.
        self.assertEqual(result.refused, 0)
        self.assertGreater(result.ended.total(), 0)
        self.assert_same_socket()

    def test_failures(self) -> None:
        """No failure of devlxd stops the service, or changes the guests' socket."""
        self.assert_watched()
        self.assert_reads_on()
        self.assert_keeps_starting()
        self.assert_same_socket()

    def assert_watched(self) -> None:
        """Check that systemd restarts a devlxd that does nothing any more."""
        self.host.drop_in("watchdog", "[Service]\nWatchdogSec=5\n")
        start = time.monotonic()
        self.host.signal("STOP")
        report(f"restarted by the watchdog after {time.monotonic() - start:.1f} s")
        self.assertEqual(self.host.count_logged("Watchdog timeout"), 1)
        self.host.drop_in("watchdog", "")

    def assert_reads_on(self) -> None:
        """Check that devlxd starts, and closes connections that it cannot continue."""
        program = Path(self.mktemp())
        program.write_text(UNREADABLE)
        self.host.put(program, "/opt/unreadable.py")
        self.host.drop_in(
            "unreadable",
            "[Service]\nExecStart=\nExecStart=/usr/bin/python3 /opt/unreadable.py\n",
        )
        self.assertEqual(self.host.show("NFileDescriptorStore"), "1")
        self.host.drop_in("unreadable", "")
        self.assertEqual(self.host.count_logged("their record cannot be read"), 1)
        self.assertEqual(self.host.show("NFileDescriptorStore"), "0")
        self.assertEqual(self.host.show("NRestarts"), "0")

    def assert_keeps_starting(self) -> None:
        """Check that failed starts lose no connections, however many there are."""
        load = self.host.start_load(["c1"], callers=1, plain=1, websockets=1)
        self.host.shell(f"mv {CONTAINERS} {CONTAINERS}.away")
        self.host.run("systemctl", "restart", "--no-block", SERVICE)
        wait_until(lambda: int(self.host.show("NRestarts")) > 5, "many failed starts")
        self.assertEqual(self.host.show("NFileDescriptorStore"), "1")
        self.host.shell(f"mv {CONTAINERS}.away {CONTAINERS}")
        self.host.wait_for_state("active")
        self.host.add_keys(["c1"], 1)
        self.assert_flawless(load.stop(1), 1)

"""Tests of the Debian package: built, installed, upgraded and removed.

Each host is a container with its own systemd. The packages are built once, for all
releases at the same time.
"""

from __future__ import annotations

import functools
import itertools
import re
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path

from devlxd import __version__
from tests.integration.cloud_guest import CloudGuest, missing_requirement
from tests.integration.debian_packages import (
    BUILD_PACKAGES,
    BUILD_TIMEOUT,
    debian_root,
    start_build,
    with_version,
)
from tests.integration.lxc import make_home, unique_name
from tests.integration.processes import (
    GuestError,
    ProcessTestCase,
    run,
    wait_until,
)

#: The releases, and the Python that each package depends on.
SUITES = {"bookworm": "python3.11", "trixie": "python3.13"}

UNITS = ["devlxd.socket", "devlxd.service"]

#: The socket of the guests.
SOCKET = "/run/devlxd/sock"

#: What passwd keeps of its files before a user is added.
BACKUP = re.compile(r"/etc/(passwd|group|shadow|gshadow)-|/etc/\.pwd\.lock")

#: Prints all paths of a host, apart from those that change with each package or boot.
ALL_PATHS = (
    "find / -xdev '(' -path /dev -o -path /proc -o -path /run -o -path /sys "
    "-o -path /opt -o -path /tmp -o -path '/var/[clt]*' ')' -prune -o -print; "
    "find /var/lib '(' -path /var/lib/dpkg -o -path '/var/lib/systemd/[^d]*' ')' "
    "-prune -o -print"
)

#: Sends a request to the guests' socket, and prints the first line of the response.
REQUEST = """
import socket
with socket.socket(socket.AF_UNIX) as s:
    s.settimeout(60)
    s.connect("/run/devlxd/sock")
    s.sendall(b"GET /1.0 HTTP/1.1\\r\\nHost: lxd\\r\\n\\r\\n")
    print(s.makefile().readline())
"""

#: Completes "devlxd sta", as bash does when the tabulator key is pressed.
COMPLETION = """
. /usr/share/bash-completion/completions/devlxd
COMP_WORDS=(devlxd sta)
COMP_CWORD=1
$(complete -p devlxd | sed 's/.*-F //') 2>/dev/null
echo "${COMPREPLY[@]}"
"""

#: Runs a command in a file system in which no systemd runs.
WITHOUT_SYSTEMD = (
    *("unshare", "--mount", "sh", "-euc"),
    'mount --rbind / /mnt; mount -t tmpfs tmpfs /mnt/run; exec chroot /mnt "$@"',
    "-",
)


@functools.cache
def built_packages() -> tempfile.TemporaryDirectory[str]:
    """Build the packages.

    :return: a directory with a directory for each release, removed at the end.
    """
    directory = tempfile.TemporaryDirectory(prefix="devlxd-")
    Path(directory.name).chmod(0o755)
    builds = []
    for suite in SUITES:
        packages = Path(directory.name, suite)
        packages.mkdir()
        builds.append(start_build(suite, packages))
    for build in builds:
        if build.wait(BUILD_TIMEOUT):
            raise GuestError("build-deb has failed")
    return directory


class VersionTests(ProcessTestCase):
    """The versions of packages."""

    def test_order(self) -> None:
        """Development versions and candidates sort before a release."""
        script = Path(__file__).parents[2] / "packaging" / "build-deb"
        (function,) = re.findall(
            r"(?ms)^debian_version\(\) \{.*?^\}", script.read_text()
        )
        versions = ["1.0.dev1", "1.0a1.dev2", "1.0a1", "1.0b2", "1.0rc1", "1.0"]
        versions += ["1.0.post1", "1.0.1", "1.1.dev0", "1.1"]
        translated = [
            run("bash", "-c", f'{function}\ndebian_version "$1"', "-", version).strip()
            for version in versions
        ]
        self.assertEqual(translated[5:6], ["1.0"])
        for earlier, later in itertools.pairwise(translated):
            # Each release of Debian appends its own revision.
            command = [f"{earlier}-0+deb13", "lt", f"{later}-0+deb12"]
            run("dpkg", "--compare-versions", *command)
        run("dpkg", "--compare-versions", "1.0-0+deb12", "lt", "1.0-0+deb13")


class HostTestCase(ProcessTestCase):
    """A base class of tests with a host that has booted."""

    skip = missing_requirement()
    suite = "bookworm"

    def setUp(self) -> None:
        (self.package,) = Path(built_packages().name, self.suite).glob("*.deb")
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        root = partial(debian_root, self.suite)
        name = unique_name(self.suite)
        # Nothing here has to survive a power failure.
        files = {"etc/dpkg/dpkg.cfg.d/tests": "force-unsafe-io\n"}
        self.host = CloudGuest(name, self.home, files=files, root=root)
        self.host.start()
        self.addCleanup(self.host.stop)
        wait_until(self.has_booted, "the host has booted")
        # What a build needs, a host need not have.
        shown = self.run_shell(
            "dpkg-query -W -f '${Package}\\n' " + " ".join(BUILD_PACKAGES) + " || true"
        )
        self.host.run("dpkg", "--purge", *shown.split())

    def has_booted(self) -> bool:
        """Return whether the services of the host have been started."""
        command = "systemctl is-active multi-user.target 2>&1 || true"
        return self.run_shell(command) == "active\n"

    def run_shell(self, script: str) -> str:
        """Run a shell script on the host; return its stdout."""
        return self.host.run("sh", "-euc", script)

    def install(self, package: Path, *command: str) -> None:
        """Install a package with dpkg.

        :param command: what runs dpkg; default: nothing.
        """
        attach = ["lxc-attach", "-P", str(self.home), "-n", self.host.name, "--"]
        with package.open("rb") as file:
            subprocess.run(
                [*attach, "sh", "-c", "cat >/opt/devlxd.deb"], stdin=file, check=True
            )
        self.host.run(*command, "dpkg", "--install", "/opt/devlxd.deb")

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.host.run("systemctl", "show", "--value", "-p", name, unit).strip()

    def is_active(self, unit: str) -> bool:
        """Return whether a unit runs."""
        return self.show(unit, "ActiveState") == "active"

    def assert_serves(self) -> None:
        """Assert that the socket responds; the caller is in no container."""
        python = "/usr/lib/devlxd/bin/python3"
        line = self.host.run(python, "-c", REQUEST)
        self.assertRegex(line, "^HTTP/1.1 [45]")


class BookwormTests(HostTestCase):
    """The package on Debian 12, from its installation to its removal."""

    def test_life(self) -> None:
        """The package serves when it is installed, and purging it leaves nothing."""
        before = set(self.run_shell(ALL_PATHS).splitlines())
        self.install(self.package)
        self.assert_complete()
        self.assert_runs()
        self.assert_upgrades()
        self.assert_keeps_choices()
        self.host.run("dpkg", "--remove", "devlxd")
        for unit in UNITS:
            self.assertFalse(self.is_active(unit), unit)
        self.assertIn("listen: lxd6=", self.host.read("/etc/devlxd.yaml"))
        self.host.run("dpkg", "--purge", "devlxd")
        left = set(self.run_shell(ALL_PATHS).splitlines()) - before
        self.assertEqual({path for path in left if not BACKUP.fullmatch(path)}, set())
        left = set(self.run_shell("find /run -name '*devlxd*'").splitlines())
        self.assertEqual(left, set())

    def assert_complete(self) -> None:
        """Assert that all that the package promises is there."""
        depends = self.host.run("dpkg-query", "-W", "-f", "${Depends}", "devlxd")
        self.assertEqual(
            set(depends.split(", ")) - {"libc6", "libgcc-s1", "libstdc++6"},
            {SUITES[self.suite]},
        )
        self.assertEqual(self.host.run("dpkg", "--verify", "devlxd"), "")
        version = self.host.run("devlxd", "--version")
        self.assertEqual(version, f"devlxd {__version__}\n")
        printed = self.host.run("/usr/lib/devlxd/bin/twistd", "devlxd", "--help")
        self.assertIn("--containers=", printed)
        pages = self.host.run("man", "-w", "devlxd", "devlxd.yaml")
        self.assertEqual(len(pages.splitlines()), 2)
        self.assertIn("twistd", self.host.run("man", "8", "devlxd"))
        self.assertIn("--public", self.host.run("man", "1", "devlxd"))
        self.assertIn("journal-bytes", self.host.run("man", "5", "devlxd.yaml"))
        self.run_shell("test -s /usr/share/zsh/vendor-completions/_devlxd")
        self.assertEqual(self.host.run("bash", "-c", COMPLETION), "status\n")
        mode = self.host.run("stat", "-c", "%U %G %a", "/etc/devlxd/containers")
        self.assertEqual(mode, "root devlxd 2750\n")
        user = self.host.run("getent", "passwd", "devlxd")
        self.assertRegex(user, r"^devlxd:.*:/var/lib/devlxd:/usr/sbin/nologin$")

    def assert_runs(self) -> None:
        """Assert that the units are enabled and run, and the service is not root."""
        for unit in UNITS:
            self.assertEqual(
                self.host.run("systemctl", "is-enabled", unit), "enabled\n"
            )
            self.assertTrue(self.is_active(unit), unit)
        self.assert_serves()
        status = self.host.run("devlxd", "status")
        self.assertTrue(status.startswith(f"healthy: devlxd {__version__}"), status)
        # Twisted would log that it cannot write the cache, if that were out of date.
        log = self.host.run("journalctl", "--unit=devlxd.service")
        self.assertIn("twistd", log)
        self.assertNotIn("cache", log)
        pid = self.show("devlxd.service", "MainPID")
        self.assertEqual(self.host.run("stat", "-c", "%U", f"/proc/{pid}"), "devlxd\n")

    def assert_upgrades(self) -> None:
        """Assert that an upgrade restarts the service, and keeps all else."""
        edit = ["sed", "-i", "s/^listen: /listen: lxd6=/", "/etc/devlxd.yaml"]
        self.host.run(*edit)
        before = self.kept_by_upgrades()
        pid = self.show("devlxd.service", "MainPID")
        self.install(with_version(self.package, "1:1.0", self.home))
        self.assertEqual(self.kept_by_upgrades(), before)
        self.assertNotEqual(self.show("devlxd.service", "MainPID"), pid)
        self.assertTrue(self.is_active("devlxd.service"))
        self.assert_serves()
        status = self.host.run("devlxd", "status")
        self.assertRegex(status, r"(?m)^lxd6 +listening +/run/devlxd/sock$")

    def assert_keeps_choices(self) -> None:
        """Assert that an upgrade enables and starts nothing that was switched off."""
        self.host.run("systemctl", "disable", "--now", *UNITS)
        self.install(with_version(self.package, "1:2.0", self.home))
        for unit in UNITS:
            state = self.run_shell(f"systemctl is-enabled {unit} || true")
            self.assertEqual(state, "disabled\n")
            self.assertFalse(self.is_active(unit), unit)
        self.host.run("systemctl", "enable", "--now", *UNITS)

    def kept_by_upgrades(self) -> list[str]:
        """Return what an upgrade does not change."""
        return [
            self.show("devlxd.socket", "ActiveEnterTimestampMonotonic"),
            self.host.run("stat", "-c", "%i %a %U", SOCKET),
            self.host.read("/etc/devlxd.yaml"),
        ]

    def test_without_systemd(self) -> None:
        """A package that was installed into an image runs when the image boots."""
        self.install(self.package, *WITHOUT_SYSTEMD)
        for unit in UNITS:
            self.assertEqual(
                self.host.run("systemctl", "is-enabled", unit), "enabled\n"
            )
            self.assertFalse(self.is_active(unit))
        self.host.reboot()
        wait_until(self.has_booted, "the host has booted again")
        self.assert_runs()


class TrixieTests(BookwormTests):
    """The package on Debian 13."""

    suite = "trixie"

"""Tests of `devlxd.host.startup`."""

from __future__ import annotations

import os
import resource
import tempfile
from pathlib import Path

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from devlxd.host import startup
from devlxd.host.startup import (
    Check,
    Result,
    UsedDirectory,
    log_checks,
    run_checks,
)


class StartupTests(SynchronousTestCase):
    """Checks of the host when devlxd starts."""

    def setUp(self) -> None:
        self.root = Path(tempfile.mkdtemp(dir="."))
        self.proc = self.root / "proc"
        self.cgroups = self.root / "cgroup"
        self.cgroups.mkdir()
        (self.cgroups / "cgroup.controllers").touch()
        (self.proc / "self").mkdir(parents=True)
        self.write("self/status", "Name:\tx\nCapEff:\t0000000000080004\n")
        self.write("self/uid_map", "         0          0 4294967295\n")
        (self.proc / "sys/fs/inotify").mkdir(parents=True)
        for name, number in (("watches", 9999), ("instances", 128)):
            self.write(f"sys/fs/inotify/max_user_{name}", f"{number}\n")
        self.write("sys/fs/inotify/max_queued_events", "16384\n")

    def write(self, name: str, text: str) -> None:
        """Write a file of proc(5)."""
        (self.proc / name).write_text(text)

    def checks(self, *directories: UsedDirectory) -> dict[str, Check]:
        """Return the checks by their names."""
        found = run_checks(directories, self.proc, self.cgroups)
        return {check.name: check for check in found}

    def result(self, name: str) -> tuple[str, str]:
        """Return the result and the detail of one check."""
        check = self.checks()[name]
        return check.result.value, check.detail

    def test_good_host(self) -> None:
        """A host that has everything has no problem."""
        checks = self.checks()
        self.assertEqual(
            [*checks],
            ["capabilities", "user namespace", "files", "kernel", "inotify", "cgroups"],
        )
        uid = f"uid {os.geteuid()}"
        self.assertEqual(
            self.result("capabilities"),
            ("ok", f"CAP_SYS_PTRACE CAP_DAC_READ_SEARCH, {uid}"),
        )
        self.assertEqual(self.result("user namespace"), ("ok", "that of the host"))
        self.assertEqual(
            self.result("inotify"),
            ("ok", "9999 watches, 128 instances, 16384 queued events"),
        )
        self.assertEqual(self.result("cgroups"), ("ok", "version 2"))
        self.assertIn(os.uname().release, self.result("kernel")[1])

    def test_capabilities(self) -> None:
        """Without CAP_SYS_PTRACE there is a problem."""
        self.write("self/status", "CapEff:\t0000000000000000\n")
        result, detail = self.result("capabilities")
        self.assertEqual(result, "problem")
        self.assertTrue(detail.startswith("none that matter, uid "))

    def test_user_namespace(self) -> None:
        """Another user namespace is shown with its ids."""
        self.write("self/uid_map", "  0  100000  65536\n  70000 5 1\n")
        self.assertEqual(
            self.result("user namespace"),
            ("ok", "its own, uids 0 100000 65536, 70000 5 1"),
        )

    def test_files(self) -> None:
        """Few open files are a warning."""
        for limit, result in (
            (1024, "warning"),
            (10**6, "ok"),
            (resource.RLIM_INFINITY, "ok"),
        ):
            self.patch(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
            self.assertEqual(self.result("files")[0], result)

    def test_kernel(self) -> None:
        """What the kernel lacks is named, with the version that has it."""
        self.patch(startup, "_has_option", lambda connection, option: False)
        self.patch(startup, "cgroup_id_of", lambda pidfd: None)
        result, detail = self.result("kernel")
        self.assertEqual(result, "warning")
        self.assertTrue(
            detail.endswith(
                "has no SO_PEERPIDFD (6.5), PIDFD_GET_INFO (6.13), SO_PASSRIGHTS (6.16)"
            )
        )
        self.patch(startup, "_features", lambda: iter([("X", True)]))
        self.assertEqual(self.result("kernel"), ("ok", os.uname().release))

    def test_no_option(self) -> None:
        """An option that the kernel does not know is missing."""
        import socket  # noqa: PLC0415

        from devlxd.host.startup import _has_option  # noqa: PLC0415 # not patched

        one, other = socket.socketpair()
        with one, other:
            self.assertFalse(_has_option(one, 9999))
            self.assertTrue(_has_option(one, socket.SO_TYPE))

    def test_inotify(self) -> None:
        """Few watches are a warning; a kernel without the file is, too."""
        self.write("sys/fs/inotify/max_user_watches", "100\n")
        self.assertEqual(self.result("inotify")[0], "warning")
        (self.proc / "sys/fs/inotify/max_user_watches").unlink()
        result, detail = self.result("host")
        self.assertEqual(result, "warning")
        self.assertIn("cannot be checked", detail)

    def test_cgroups(self) -> None:
        """The layout of cgroups is named."""
        (self.cgroups / "cgroup.controllers").unlink()
        self.assertEqual(self.result("cgroups")[0], "problem")
        (self.cgroups / "cpu").mkdir()
        self.assertEqual(self.result("cgroups"), ("ok", "version 1"))
        (self.cgroups / "unified").mkdir()
        (self.cgroups / "unified/cgroup.controllers").touch()
        self.assertEqual(self.result("cgroups"), ("ok", "versions 1 and 2 (hybrid)"))

    def test_directories(self) -> None:
        """A directory that is missing or not readable or not writable is a problem."""
        path = str(self.root)
        os.chmod(path, 0o700)
        mode = f"{path} (mode 700, uid {os.geteuid()})"

        def checked(**arguments: bool) -> tuple[str, str]:
            check = self.checks(UsedDirectory("state", path, **arguments))["state"]
            return check.result.value, check.detail

        self.assertEqual(checked(is_written=True), ("ok", mode))
        self.patch(os, "access", lambda path, mode, **_: not mode & os.W_OK)
        self.assertEqual(checked(), ("ok", mode))
        self.assertEqual(
            checked(is_written=True), ("problem", f"{mode} cannot be written")
        )
        self.patch(os, "access", lambda path, mode, **_: False)
        self.assertEqual(checked(), ("problem", f"{mode} cannot be read"))
        path = f"{self.proc}/self/status"
        self.assertIn("is not a directory", checked()[1])
        path = "/nonexistent"
        self.assertEqual(
            checked(), ("problem", "/nonexistent: No such file or directory")
        )
        self.assertEqual(
            checked(is_needed=False), ("ok", "/nonexistent does not exist yet")
        )

    def test_log(self) -> None:
        """The checks are lines for people, of one screen, and fields of one event."""
        directories = [
            UsedDirectory("containers", str(self.root)),
            UsedDirectory("containers", "/nonexistent"),
        ]
        with capturedLogs() as events:
            log_checks("1.2", run_checks(directories, self.proc, self.cgroups))
        *lines, started = events
        self.assertLessEqual(len(lines), 20)
        self.assertEqual(formatEvent(started), "devlxd 1.2 starts; problems: 1")
        self.assertEqual(started["pid"], os.getpid())
        self.assertEqual(started["cgroups"], "ok: version 2")
        self.assertEqual(started["user_namespace"], "ok: that of the host")
        first, second = started["containers"].split("; ")
        self.assertTrue(first.startswith("ok: "), first)
        self.assertTrue(second.startswith("problem: /nonexistent"), second)
        self.assertIn("inotify: ok: 9999", str(formatEvent(lines[4])))
        self.assertIn(Result.OK.value, str(formatEvent(lines[0])))

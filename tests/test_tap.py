"""Tests of `devlxd.tap`: the command line of ``twistd devlxd``."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sqlite3
import sys
import tempfile
from functools import partialmethod
from pathlib import Path

from attrs import evolve
from twisted.application.service import IServiceMaker
from twisted.copyright import version as twisted_version
from twisted.internet.defer import FirstError, fail
from twisted.logger import capturedLogs
from twisted.plugin import getPlugins
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from devlxd import __version__, tap
from devlxd.containers.directory import DirectoryStore
from devlxd.demo import DemoService
from devlxd.guestapi.dialects.apollo import DIALECT as APOLLO
from devlxd.guestapi.dialects.lxd import DIALECT as LXD
from devlxd.host.process import LockedError, LockFile, ProcessService
from devlxd.images.directory_images import DirectoryImageStore
from devlxd.images.upstream_images import LXDImageStore
from devlxd.service import DevLXDService, GuestListener
from devlxd.testing import MemoryDevLXDReactor


def no_privileges() -> None:
    """Find that this process may not look at others."""
    raise PermissionError("CAP is missing")


class OptionsTestCase(SynchronousTestCase):
    """Has a directory that can be listened in and one with containers."""

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, self.directory)
        self.socket = f"{self.directory}/sock"
        self.containers = Path(tempfile.mkdtemp(dir="."))
        self.state = Path(tempfile.mkdtemp(dir=".")) / "state"
        # Who runs the tests may be anybody.
        self.patch(tap, "check_may_identify", lambda: None)

    def parse(self, *arguments: str) -> tap.Options:
        """Read a command line."""
        options = tap.Options()
        options.parseOptions([f"--state={self.state}", *arguments])
        return options

    def assert_refused(self, message: str, *arguments: str) -> None:
        """Check that a command line ends in one line and exit status 1."""
        error = self.assertRaises(SystemExit, self.parse, *arguments)
        # sys.exit() prints a text to stderr and exits with 1
        self.assertIsInstance(error.code, str)
        self.assertTrue(str(error.code).startswith("devlxd: "), error.code)
        self.assertIn(message, str(error.code))
        self.assertNotIn("\n", str(error.code))


class OptionsTests(OptionsTestCase):
    """Reading the command line."""

    def test_listen(self) -> None:
        """``--listen`` may be repeated, each with a dialect."""
        options = self.parse(
            "--containers",
            str(self.containers),
            "--listen",
            self.socket,
            "--listen",
            f"apollo=unix:{self.socket}2:mode=666",
        )
        self.assertEqual(
            options["listen"],
            [
                tap.Listen(LXD, self.socket),
                tap.Listen(APOLLO, f"unix:{self.socket}2:mode=666"),
            ],
        )

    def test_defaults(self) -> None:
        """Without ``--listen`` and ``--containers`` the documented paths count."""
        options = tap.Options()
        self.patch(tap, "_check_listen", lambda listen, _: listen.endpoint)
        self.patch(tap, "_check_directory", lambda option, path: None)
        self.patch(options, "_check_state", lambda dialect: None)
        options.parseOptions([])
        self.assertEqual(options["listen"], [tap.Listen(LXD, "/var/lib/lxd/devlxd")])
        options.parseOptions(["--listen", "apollo="])
        listen = options["listen"][-1]
        self.assertEqual(listen, tap.Listen(APOLLO, "/var/lib/apollo/devapollo"))
        self.assertEqual(options.containers(LXD), Path("/var/lib/lxd/containers"))
        self.assertEqual(options.containers(APOLLO), Path("/var/lib/apollo/containers"))

    def test_bad_options(self) -> None:
        """What cannot be carried out is told in one line."""
        path = str(self.containers)
        self.assert_refused("--nope", "--nope")
        self.assert_refused("extra", "extra")
        self.assert_refused("no dialect lxc", "--listen", "lxc=/run/x")
        self.assert_refused("/nope/sock: No such file", "--listen", "/nope/sock")
        self.assert_refused("foo", "--listen", "foo:bar", "--containers", path)
        for option in ("listen", "containers", "images", "state", "switch", "assume"):
            self.assert_refused(f"--{option}: nothing is given", f"--{option}=")
        self.assert_refused("UNIX sockets only", "--listen=tcp:80:interface=127.0.0.1")
        self.assert_refused("127.0.0.1", "--listen=tcp:80", "--assume=c1")
        self.assert_refused(
            "--containers: /nope", "--containers", "/nope", "--listen", self.socket
        )
        self.assert_refused(
            "no container's name",
            "--assume=a/b",
            "--listen",
            self.socket,
            "--containers",
            path,
        )
        for images in ("/nope", "lxd:", "lxd:unix:", "lxd:tcp:host:8443"):
            self.assert_refused(
                f"--images: {images}",
                f"--images={images}",
                f"--listen={self.socket}",
                f"--containers={path}",
            )
        self.assert_refused(
            "no dialect has images",
            f"--images={path}",
            f"--listen=apollo={self.socket}",
            f"--containers={path}",
        )
        for again in (self.socket, self.directory, f"unix:{self.socket}"):
            self.assert_refused(
                "is given twice",
                f"--listen={self.socket}",
                f"--listen=apollo={again}",
                f"--containers={path}",
            )
        self.assert_refused("without --assume", "--demo", "--assume", "x")
        self.assertEqual(os.listdir(self.directory), [])

    def test_state(self) -> None:
        """The directory for the state is made; what cannot be one is told."""
        arguments = [f"--listen={self.socket}", f"--containers={self.containers}"]
        options = self.parse(*arguments)
        self.assertEqual(self.state.stat().st_mode & 0o777, 0o700)
        journal = options.journal(LXD)
        journal.open()
        self.addCleanup(journal.close)
        self.assert_refused("locked", *arguments)

        def taken(_: object) -> None:
            raise LockedError(5)

        patch = self.patch(LockFile, "check", taken)
        self.assert_refused(
            f"--state: {self.state}: another devlxd (pid 5) serves "
            f"{self.containers.absolute()}",
            *arguments,
        )
        patch.restore()

        def fails(_: object, number: int) -> None:
            raise OSError(number, os.strerror(number))

        patch = self.patch(LockFile, "check", partialmethod(fails, errno.EACCES))
        self.assert_refused(f"--state: {self.state}: Permission denied", *arguments)
        patch.restore()
        self.state = self.state.with_name("file")
        self.state.write_text("")
        self.assert_refused("--state", *arguments)
        # apollo has no events, and nothing to remember
        self.parse(*[a.replace("listen=", "listen=apollo=") for a in arguments])

    def test_journal(self) -> None:
        """A damaged journal keeps nothing from starting; one of a newer devlxd does."""
        arguments = [f"--listen={self.socket}", f"--containers={self.containers}"]
        journal = self.parse(*arguments).journal(LXD)
        (path,) = self.state.glob("*.sqlite")
        path.write_bytes(b"nonsense" * 1000)
        self.parse(*arguments)
        journal.open()
        journal.close()
        with contextlib.closing(sqlite3.connect(path)) as newer:
            newer.execute("PRAGMA user_version = 99")
        self.assert_refused("its format is 99", *arguments)
        path.unlink()
        path.symlink_to("/nonexistent/journal")
        self.parse(*arguments)

    def test_loopback(self) -> None:
        """Who takes every caller for one container may listen at a port."""
        listen = "tcp:0:interface=127.0.0.1"
        options = self.parse(
            f"--listen={listen}", f"--containers={self.containers}", "--assume=c1"
        )
        self.assertEqual(options["listen"], [tap.Listen(LXD, listen)])

    def test_switch(self) -> None:
        """``--switch`` takes the place of the key that switches the API off."""
        options = self.parse(
            f"--containers={self.containers}",
            f"--listen={self.socket}",
            f"--listen=apollo={self.directory}/a.sock",
            "--switch=user.guest-api",
        )
        for listen, dialect in zip(options["listen"], (LXD, APOLLO), strict=True):
            self.assertEqual(listen.dialect, evolve(dialect, switch="user.guest-api"))

    def test_privileges(self) -> None:
        """Who cannot find out who a guest is does not start, unless it need not."""
        self.patch(tap, "check_may_identify", no_privileges)
        arguments = [f"--listen={self.socket}", f"--containers={self.containers}"]
        self.assert_refused("devlxd: CAP is missing", *arguments)
        self.parse("--assume=c1", *arguments).check_privileges()
        self.parse("--demo")

    def test_version(self) -> None:
        """``--version`` tells that of devlxd, and that of Twisted."""
        output = io.StringIO()
        self.patch(sys, "stdout", output)
        error = self.assertRaises(SystemExit, self.parse, "--version")
        self.assertEqual(error.code, 0)
        self.assertEqual(
            output.getvalue(), f"devlxd {__version__} (Twisted {twisted_version})\n"
        )

    def test_help(self) -> None:
        """``--help`` tells every option."""
        text = str(tap.Options())
        for option in ("--listen", "--containers", "--images", "--assume", "--demo"):
            self.assertIn(option, text)
        self.assertTrue(issubclass(tap.Options, usage.Options))

    def test_bounds(self) -> None:
        """``--help`` tells how much one container may have of what all share."""
        text = " ".join(str(tap.Options()).split())
        for bound in ("1024 connections", "4 downloads", "1000", "8 MiB", "256 MiB"):
            self.assertIn(f" {bound}", text)


class MakeServiceTests(OptionsTestCase):
    """Building the service."""

    def setUp(self) -> None:
        super().setUp()
        # What is of the whole process.
        self.patch(tap, "use_monotonic_clock", lambda reactor: None)
        self.patch(tap, "disable_gc_until", lambda loaded: None)
        self.patch(tap, "without_waiting", lambda file: file)
        self.patch(sys, "stdout", sys.stdout)

    def make(self, *arguments: str) -> list[DevLXDService]:
        """Build the service; return the services that listen."""
        service = tap.makeService(self.parse(*arguments))
        assert isinstance(service, ProcessService)
        self.hang_up = service._hang_up
        self.take_locks, self.check = service._take_locks, service._check
        return [child for child in service if isinstance(child, DevLXDService)]

    def directory_of(self, service: DevLXDService) -> Path:
        """Return the directory whose containers a service serves."""
        assert isinstance(service.store, DirectoryStore)
        assert service.store.parent is service.parent
        return service.store.directory

    def test_one_store(self) -> None:
        """With ``--containers``, all dialects tell of the same containers."""
        (service,) = self.make(
            f"--containers={self.containers}",
            f"--listen={self.socket}",
            f"--listen=apollo={self.directory}/apollo.sock",
        )
        self.assertEqual(self.directory_of(service), self.containers.absolute())
        listeners = [s for s in service if isinstance(s, GuestListener)]
        self.assertEqual([s.dialect for s in listeners], [LXD, APOLLO])

    def test_own_stores(self) -> None:
        """Without it, each dialect has the directory that its document names."""
        self.patch(tap.Options, "containers", lambda _, d: self.containers / d.name)
        for name in ("lxd", "apollo"):
            (self.containers / name).mkdir()
        services = self.make(
            f"--listen={self.socket}", f"--listen=apollo={self.directory}/apollo.sock"
        )
        self.assertEqual(
            [self.directory_of(service).name for service in services],
            ["lxd", "apollo"],
        )

    def images_of(self, *arguments: str) -> object:
        """Return where the images come from, with a command line."""
        listen = f"--listen={self.socket}"
        options = self.parse(f"--containers={self.containers}", listen, *arguments)
        dialects = [listen.dialect for listen in options["listen"]]
        return options.images(dialects, MemoryDevLXDReactor())

    def test_images(self) -> None:
        """``--images`` is a directory, or the socket of an LXD."""
        default = self.images_of()
        assert isinstance(default, DirectoryImageStore)
        self.assertEqual(default.directory, Path("/var/lib/lxd/images"))
        given = self.images_of(f"--images={self.containers}")
        assert isinstance(given, DirectoryImageStore)
        self.assertEqual(given.directory, self.containers.absolute())
        upstream = self.images_of("--images=lxd:unix:/run/lxd/sock")
        assert isinstance(upstream, LXDImageStore)
        self.assertEqual(upstream.path, "/run/lxd/sock")
        relative = self.images_of("--images=lxd:unix:sock")
        assert isinstance(relative, LXDImageStore)
        self.assertEqual(relative.path, os.path.abspath("sock"))

    def test_no_images(self) -> None:
        """Where no dialect has images there are none."""
        options = self.parse(
            f"--containers={self.containers}", f"--listen=apollo={self.socket}"
        )
        self.assertIsNone(options.images([APOLLO], MemoryDevLXDReactor()))

    def test_loading_fails(self) -> None:
        """That containers cannot be loaded is in the log."""
        self.patch(DirectoryStore, "loaded", lambda _: fail(ZeroDivisionError()))
        self.make(f"--containers={self.containers}", f"--listen={self.socket}")
        self.assertEqual(len(self.flushLoggedErrors(FirstError)), 1)

    def test_output(self) -> None:
        """The log of ``twistd -n`` waits for nobody."""
        output = io.StringIO()
        self.patch(tap, "without_waiting", lambda file: output)
        self.make(f"--containers={self.containers}", f"--listen={self.socket}")
        self.assertIs(sys.stdout, output)

    def test_clock(self) -> None:
        """The reactor waits by a clock that nobody sets."""
        reactors: list[object] = []
        self.patch(tap, "use_monotonic_clock", reactors.append)
        self.make(f"--containers={self.containers}", f"--listen={self.socket}")
        from twisted.internet import reactor  # noqa: PLC0415

        self.assertEqual(reactors, [reactor])

    def test_hang_up(self) -> None:
        """``SIGHUP`` lets all containers be read anew."""
        self.patch(tap.Options, "containers", lambda _, d: self.containers / d.name)
        for name in ("lxd", "apollo"):
            (self.containers / name).mkdir()
        services = self.make(
            f"--listen={self.socket}", f"--listen=apollo={self.directory}/a.sock"
        )
        read: list[DirectoryStore] = []

        def reload(store: DirectoryStore) -> None:
            read.append(store)

        self.patch(DirectoryStore, "reload", reload)
        self.hang_up()
        self.assertEqual(read, [service.store for service in services])

    def test_starts_with(self) -> None:
        """The process locks its state, and checks what privileges it keeps."""
        self.make(f"--containers={self.containers}", f"--listen={self.socket}")
        self.take_locks()
        self.assertEqual(
            {path.suffix for path in self.state.iterdir()}, {".sqlite", ".lock"}
        )
        self.check()
        self.patch(tap, "check_may_identify", no_privileges)
        error = self.assertRaises(SystemExit, self.check)
        self.assertEqual(error.code, "devlxd: CAP is missing")

        def taken(_: object) -> None:
            raise LockedError(5)

        self.patch(LockFile, "acquire", taken)
        error = self.assertRaises(SystemExit, self.take_locks)
        self.assertIn(f"(pid 5) serves {self.containers.absolute()}", str(error.code))

    def test_assume_is_loud(self) -> None:
        """``--assume`` says in the log that everybody is let in."""
        with capturedLogs() as events:
            self.make(
                f"--containers={self.containers}",
                f"--listen={self.socket}",
                "--assume=c1",
            )
        self.assertIn("EVERY caller", str(events))

    def test_demo(self) -> None:
        """``--demo`` needs nothing else."""
        service = tap.makeService(self.parse("--demo"))
        assert isinstance(service, ProcessService)
        self.assertEqual([type(child) for child in service], [DemoService])
        service._take_locks()
        service._check()


class PluginTests(SynchronousTestCase):
    """``twistd`` knows the command."""

    def test_found(self) -> None:
        """The plugin is found, and what it names is there."""
        (maker,) = [
            maker for maker in getPlugins(IServiceMaker) if maker.tapname == "devlxd"
        ]
        self.assertIs(maker.options, tap.Options)
        self.assertIs(maker.makeService, tap.makeService)

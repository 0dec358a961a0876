"""Tests of `devlxd.options` and `devlxd.tap`: the command ``twistd devlxd``."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import sqlite3
import sys
import tempfile
from functools import partialmethod
from pathlib import Path

from attrs import evolve
from twisted.application.service import IServiceMaker
from twisted.copyright import version as twisted_version
from twisted.internet.defer import fail
from twisted.logger import capturedLogs, formatEvent
from twisted.plugin import getPlugins
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from devlxd import __version__, assembly, options, tap
from devlxd.access_keys import access_keys
from devlxd.container_sources import DirectorySource
from devlxd.containers.directory_store import DirectoryStore
from devlxd.demo import DemoService
from devlxd.guest_listener import GuestListener
from devlxd.guest_states.memory import MemoryGuestStates
from devlxd.guest_states.ready_file import ReadyFile
from devlxd.guest_states.sqlite_states import SQLiteGuestStates
from devlxd.guestapi import dialects
from devlxd.guestapi.dialects import DIALECTS
from devlxd.guestapi.dialects.apollo import DIALECT as APOLLO
from devlxd.guestapi.dialects.lxd import DIALECT as LXD
from devlxd.host import startup
from devlxd.host.lock_file import LockedError, LockFile
from devlxd.host.process_service import ProcessService
from devlxd.host.socket_directories import SocketDirectories
from devlxd.images.directory_image_store import DirectoryImageStore
from devlxd.images.upstream_image_store import LXDImageStore
from devlxd.listen_option import ListenOption
from devlxd.options import Options
from devlxd.peers.identifier import CallerIdentifier
from devlxd.service import DevLXDService
from devlxd.testing import MemoryDevLXDReactor


def no_privileges() -> None:
    """Raise the error of a process without CAP_SYS_PTRACE."""
    raise PermissionError("CAP is missing")


def fail_with(_: object, number: int) -> None:
    """Raise the `OSError` of an error number."""
    raise OSError(number, os.strerror(number))


class OptionsTestCase(SynchronousTestCase):
    """A base class with directories for a socket, for containers and for the state."""

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp()
        os.chmod(self.directory, 0o755)
        self.addCleanup(os.rmdir, self.directory)
        self.socket = f"{self.directory}/sock"
        self.containers = Path(tempfile.mkdtemp(dir="."))
        self.state = Path(tempfile.mkdtemp(dir=".")) / "state"
        # The tests may run without root.
        self.patch(options, "check_may_identify", lambda: None)

    def parse(self, *arguments: str) -> Options:
        """Parse a command line."""
        parsed = Options()
        parsed.parseOptions([f"--state={self.state}", *arguments])
        return parsed

    def assert_refused(self, message: str, *arguments: str) -> None:
        """Check that a command line exits with one line and status 1."""
        error = self.assertRaises(SystemExit, self.parse, *arguments)
        # sys.exit() prints a text on standard error, and exits with status 1.
        self.assertIsInstance(error.code, str)
        self.assertTrue(str(error.code).startswith("devlxd: "), error.code)
        self.assertIn(message, str(error.code))
        self.assertNotIn("\n", str(error.code))


class OptionsTests(OptionsTestCase):
    """Parsing the command line."""

    def test_listen(self) -> None:
        """``--listen`` may be repeated, with a dialect each."""
        parsed = self.parse(
            "--containers",
            str(self.containers),
            "--listen",
            self.socket,
            "--listen",
            f"apollo=unix:{self.socket}2:mode=666",
        )
        self.assertEqual(
            parsed["listen"],
            [
                ListenOption(LXD, self.socket),
                ListenOption(APOLLO, f"unix:{self.socket}2:mode=666"),
            ],
        )

    def test_defaults(self) -> None:
        """The default paths of ``--listen`` and ``--containers`` are the dialect's."""
        parsed = Options()
        self.patch(Options, "_check_endpoint", lambda _, listen: listen.endpoint)
        self.patch(DirectorySource, "check", lambda _: None)
        self.patch(parsed, "_check_state", lambda dialect: None)
        parsed.parseOptions([])
        self.assertEqual(parsed["listen"], [ListenOption(LXD, "/var/lib/lxd/devlxd")])
        parsed.parseOptions(["--listen", "apollo="])
        listen = parsed["listen"][-1]
        self.assertEqual(listen, ListenOption(APOLLO, "/var/lib/apollo/devapollo"))
        self.assertEqual(
            parsed.containers(LXD), DirectorySource(Path("/var/lib/lxd/containers"))
        )
        self.assertEqual(
            parsed.containers(APOLLO),
            DirectorySource(Path("/var/lib/apollo/containers")),
        )

    def test_bad_options(self) -> None:
        """An invalid command line is refused with an error of one line."""
        path = str(self.containers)
        self.assert_refused("--nope", "--nope")
        self.assert_refused("extra", "extra")
        self.assert_refused("no dialect lxc", "--listen", "lxc=/run/x")
        self.assert_refused("/nope/sock: No such file", "--listen", "/nope/sock")
        self.assert_refused("foo", "--listen", "foo:bar", "--containers", path)
        for option in ("listen", "containers", "images", "state", "switch", "assume"):
            self.assert_refused(f"--{option}: must not be empty", f"--{option}=")
        self.assert_refused("UNIX sockets only", "--listen=tcp:80:interface=127.0.0.1")
        self.assert_refused("127.0.0.1", "--listen=tcp:80", "--assume=c1")
        self.assert_refused(
            "--containers: /nope", "--containers", "/nope", "--listen", self.socket
        )
        self.assert_refused(
            "is not a container name",
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

    def test_each(self) -> None:
        """A directory of sockets is created, and is used once, by one devlxd."""
        path = f"{self.directory}/each"
        self.addCleanup(shutil.rmtree, path)
        arguments = [f"--listen=each:{path}", f"--containers={self.containers}"]
        parsed = self.parse(*arguments)
        self.assertEqual(parsed["listen"], [ListenOption(LXD, f"each:{path}")])
        self.assertEqual(parsed.addresses, {f"{path}/*"})
        self.assert_refused(
            "is given twice", *arguments, f"--listen=apollo=each:{path}/"
        )
        self.assert_refused("must have the form each:DIRECTORY", "--listen=each:")
        directories = SocketDirectories(path)
        directories.acquire()
        self.addCleanup(directories.release)
        self.assert_refused(f"another devlxd (pid {os.getpid()})", *arguments)

    def test_slow(self) -> None:
        """A fast path that does not exist cannot be switched off."""
        self.patch(os, "environ", {"DEVLXD_SLOW": "everything"})
        self.assert_refused("DEVLXD_SLOW: no fast path is called 'everything'")

    def test_state(self) -> None:
        """The state directory is created; an error says why it is unusable."""
        arguments = [f"--listen={self.socket}", f"--containers={self.containers}"]
        parsed = self.parse(*arguments)
        self.assertEqual(self.state.stat().st_mode & 0o777, 0o711)
        journal = parsed.state().journal(parsed.containers(LXD))
        journal.open(["user."])
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
        patch = self.patch(LockFile, "check", partialmethod(fail_with, errno.EACCES))
        self.assert_refused(f"--state: {self.state}: Permission denied", *arguments)
        patch.restore()
        self.state = self.state.with_name("file")
        self.state.write_text("")
        self.assert_refused("--state", *arguments)
        # apollo has no events, and therefore no state.
        self.parse(*[a.replace("listen=", "listen=apollo=") for a in arguments])

    def test_state_is_private(self) -> None:
        """Others may enter the directory, but read no file, whatever the umask."""
        arguments = [f"--listen=incus={self.socket}", f"--containers={self.containers}"]
        for umask in (0, 0o077):
            self.addCleanup(os.umask, os.umask(umask))
            self.state = self.state.with_name(f"below{umask}") / "state"
            parsed = self.parse(*arguments)
            self.assertEqual(self.state.stat().st_mode & 0o777, 0o711)
            journal = parsed.state().journal(DirectorySource(self.containers))
            journal.open(["user."])
            self.addCleanup(journal.close)
            parsed.acquire_locks()
            files = {path.suffix: path for path in self.state.iterdir()}
            self.assertEqual(
                sorted(files), [".lock", ".sqlite", ".sqlite-wal", ".states"]
            )
            for path in files.values():
                self.assertEqual(path.stat().st_mode & 0o777, 0o600, path)

    def test_existing_state(self) -> None:
        """The mode of an existing state directory is the operator's."""
        self.state.mkdir(0o700)
        self.parse(f"--listen={self.socket}", f"--containers={self.containers}")
        self.assertEqual(self.state.stat().st_mode & 0o777, 0o700)

    def test_guest_states(self) -> None:
        """A dialect with guest states has a state, even if it has no events."""
        quiet = evolve(DIALECTS["incus"], event_types=frozenset())
        self.patch(dialects, "DIALECTS", {"incus": quiet})
        arguments = [f"--listen=incus={self.socket}", f"--containers={self.containers}"]
        parsed = self.parse(*arguments)
        parsed.acquire_locks()
        files = {path.suffix: path for path in self.state.iterdir()}
        self.assertEqual(sorted(files), [".lock", ".states"])
        with contextlib.closing(sqlite3.connect(files[".states"])) as newer:
            newer.execute("PRAGMA user_version = 99")
        self.assert_refused("its format is 99", *arguments)
        files[".states"].unlink()
        states = ReadyFile(str(files[".states"]))
        states.open()
        self.addCleanup(states.close)
        self.assert_refused("locked", *arguments)

    def test_full_disk(self) -> None:
        """devlxd starts with a full disk, without recording events."""
        self.patch(LockFile, "check", partialmethod(fail_with, errno.ENOSPC))
        self.parse(f"--listen={self.socket}", f"--containers={self.containers}")

    def test_journal(self) -> None:
        """devlxd starts with a damaged journal, but not with one of a newer devlxd."""
        arguments = [f"--listen={self.socket}", f"--containers={self.containers}"]
        parsed = self.parse(*arguments)
        journal = parsed.state().journal(parsed.containers(LXD))
        (path,) = self.state.glob("*.sqlite")
        path.write_bytes(b"nonsense" * 1000)
        self.parse(*arguments)
        journal.open(["user."])
        journal.close()
        with contextlib.closing(sqlite3.connect(path)) as newer:
            newer.execute("PRAGMA user_version = 99")
        self.assert_refused("its format is 99", *arguments)
        path.unlink()
        path.symlink_to("/nonexistent/journal")
        self.parse(*arguments)

    def test_loopback(self) -> None:
        """With ``--assume``, a TCP port at a loopback address is accepted."""
        listen = "tcp:0:interface=127.0.0.1"
        parsed = self.parse(
            f"--listen={listen}", f"--containers={self.containers}", "--assume=c1"
        )
        self.assertEqual(parsed["listen"], [ListenOption(LXD, listen)])

    def test_switch(self) -> None:
        """``--switch`` replaces the key that switches the API off."""
        parsed = self.parse(
            f"--containers={self.containers}",
            f"--listen={self.socket}",
            f"--listen=apollo={self.directory}/a.sock",
            "--switch=user.guest-api",
        )
        for listen, dialect in zip(parsed["listen"], (LXD, APOLLO), strict=True):
            self.assertEqual(listen.dialect, evolve(dialect, switch="user.guest-api"))

    def test_privileges(self) -> None:
        """devlxd does not start without the capability to identify callers."""
        self.patch(options, "check_may_identify", no_privileges)
        arguments = [f"--listen={self.socket}", f"--containers={self.containers}"]
        self.assert_refused("devlxd: CAP is missing", *arguments)
        self.parse("--assume=c1", *arguments).check_privileges()
        self.parse("--demo")

    def test_version(self) -> None:
        """``--version`` prints the versions of devlxd and Twisted."""
        output = io.StringIO()
        self.patch(sys, "stdout", output)
        error = self.assertRaises(SystemExit, self.parse, "--version")
        self.assertEqual(error.code, 0)
        self.assertEqual(
            output.getvalue(), f"devlxd {__version__} (Twisted {twisted_version})\n"
        )

    def test_help(self) -> None:
        """``--help`` lists all options."""
        text = str(Options())
        for option in ("--listen", "--containers", "--images", "--assume", "--demo"):
            self.assertIn(option, text)
        self.assertTrue(issubclass(Options, usage.Options))

    def test_help_on_dialects(self) -> None:
        """``--help`` names each dialect, and its default paths."""
        text = " ".join(str(Options()).split())
        for dialect in DIALECTS.values():
            self.assertIn(dialect.name, text)
            for default in (dialect.socket, dialect.containers, dialect.switch):
                self.assertIn(f" {default}", text)

    def test_limits(self) -> None:
        """``--help`` names the option that lists all limits; it prints their table."""
        self.assertIn("--limit=help", " ".join(str(Options()).split()))
        output = io.StringIO()
        self.patch(sys, "stdout", output)
        error = self.assertRaises(SystemExit, self.parse, "--limit=help")
        self.assertEqual(error.code, 0)
        self.assertIn("\nconnections  ", output.getvalue())


class MakeServiceTests(OptionsTestCase):
    """Building the service."""

    def setUp(self) -> None:
        super().setUp()
        # These change the whole process.
        self.patch(tap, "use_monotonic_clock", lambda reactor: None)
        self.patch(tap, "disable_gc_until", lambda loaded: None)
        self.patch(tap, "log_checks", lambda version, checks: None)
        self.patch(tap, "nonblocking", lambda file: file)
        self.patch(sys, "stdout", sys.stdout)

    def make(self, *arguments: str) -> list[DevLXDService]:
        """Build the service; return its children that listen."""
        service = tap.makeService(self.parse(*arguments))
        assert isinstance(service, ProcessService)
        self.on_hangup = service._on_hangup
        self.acquire_locks = service._acquire_locks
        self.check_privileges = service._check_privileges
        return [child for child in service if isinstance(child, DevLXDService)]

    def directory_of(self, service: DevLXDService) -> Path:
        """Return the directory of the containers that a service serves."""
        assert isinstance(service.store, DirectoryStore)
        assert service.store.parent is service.parent
        return service.store.directory

    def test_access_keys(self) -> None:
        """The store checks the access keys of all dialects, even if not served."""
        keys = access_keys([])
        for dialect in DIALECTS.values():
            self.assertIn(dialect.switch, keys.booleans)
            self.assertIn(dialect.uids_key, keys.uids)
        self.assertIn(LXD.images_key, keys.booleans)
        self.assertNotIn(APOLLO.images_key, keys.booleans)
        self.assertEqual(keys.similar, LXD.similar_keys)
        for prefix in LXD.exported:
            self.assertIn(prefix, keys.exported)
        (service,) = self.make(
            f"--containers={self.containers}", f"--listen={self.socket}"
        )
        assert isinstance(service.store, DirectoryStore)
        self.assertEqual(service.store._access_keys, access_keys([LXD]))

    def test_access_keys_of_switch(self) -> None:
        """The store checks the key of ``--switch``, too."""
        (service,) = self.make(
            f"--containers={self.containers}",
            f"--listen={self.socket}",
            "--switch=user.guest-api",
        )
        assert isinstance(service.store, DirectoryStore)
        keys = service.store._access_keys
        self.assertIn("user.guest-api", keys.booleans)
        self.assertLessEqual(set(access_keys([]).all), set(keys.all))

    def test_one_store(self) -> None:
        """With ``--containers``, all dialects serve the same containers."""
        (service,) = self.make(
            f"--containers={self.containers}",
            f"--listen={self.socket}",
            f"--listen=apollo={self.directory}/apollo.sock",
        )
        self.assertEqual(self.directory_of(service), self.containers.absolute())
        listeners = [s for s in service if isinstance(s, GuestListener)]
        self.assertEqual([s.dialect for s in listeners], [LXD, APOLLO])

    def source(self, name: str) -> DirectorySource:
        """Return a directory of containers of its own."""
        return DirectorySource(self.containers / name)

    def test_own_stores(self) -> None:
        """By default, each dialect serves the containers of its default directory."""
        self.patch(
            Options,
            "containers",
            lambda _, d: DirectorySource(self.containers / d.name),
        )
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
        """Return the store of images that a command line makes."""
        listen = f"--listen={self.socket}"
        parsed = self.parse(f"--containers={self.containers}", listen, *arguments)
        dialects = [listen.dialect for listen in parsed["listen"]]
        return assembly.make_image_store(parsed, dialects, MemoryDevLXDReactor())

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
        """If no dialect has images, there is no store of images."""
        parsed = self.parse(
            f"--containers={self.containers}", f"--listen=apollo={self.socket}"
        )
        reactor = MemoryDevLXDReactor()
        self.assertIsNone(assembly.make_image_store(parsed, [APOLLO], reactor))

    def test_guest_states(self) -> None:
        """Guest states are kept in the state directory if a dialect has them."""
        self.patch(
            Options,
            "containers",
            lambda _, d: DirectorySource(self.containers / d.name),
        )
        for name in ("lxd", "lxd6"):
            (self.containers / name).mkdir()
        lxd, lxd6 = self.make(
            f"--listen={self.socket}", f"--listen=lxd6={self.directory}/6.sock"
        )
        self.assertIsInstance(lxd.states, MemoryGuestStates)
        self.assertNotIsInstance(lxd.states, SQLiteGuestStates)
        self.assertIsInstance(lxd6.states, SQLiteGuestStates)
        self.assertEqual(len(list(self.state.glob("*.states"))), 1)

    def test_order_of_services(self) -> None:
        """An identifier, which ends all runs, is stopped after the guest states."""
        (service,) = self.make(
            f"--containers={self.containers}", f"--listen=lxd6={self.socket}"
        )
        assert service.parent is not None
        kinds = [type(child) for child in service.parent]
        self.assertEqual(kinds, [DirectoryStore, CallerIdentifier, DevLXDService])

    def test_closed_directory(self) -> None:
        """A directory that keeps unprivileged containers from a socket is logged."""
        arguments = [
            f"--containers={self.containers}",
            f"--listen={self.directory}/closed/sockets",
        ]
        closed = Path(self.directory) / "closed"
        closed.mkdir(0o700)
        self.addCleanup(shutil.rmtree, closed)
        with capturedLogs() as events:
            self.make(*arguments)
        (line,) = map(formatEvent, events)
        self.assertIn(f"mount {closed}/sockets/sock: other users", line)
        self.assertIn(f"may not enter {closed} (chmod o+x)", line)
        with capturedLogs() as events:
            self.make(*arguments, "--assume=c1")
        self.assertEqual(len(events), 1, events)
        closed.chmod(0o711)
        with capturedLogs() as events:
            self.make(*arguments)
        self.assertEqual(events, [])

    def test_loading_fails(self) -> None:
        """A failure to load the containers of a directory is logged."""
        self.patch(DirectoryStore, "loaded", lambda _: fail(ZeroDivisionError()))
        with capturedLogs() as events:
            self.make(f"--containers={self.containers}", f"--listen={self.socket}")
        (event,) = events
        self.assertEqual(event["directory"], str(self.containers.absolute()))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_reload_of_config(self) -> None:
        """``SIGHUP`` puts the limits of the file of ``--config`` into force."""
        file = self.containers.with_name("devlxd.yaml")
        file.write_text("limits: {connections: 7, downloads: 5}")
        self.addCleanup(file.unlink)
        (service,) = self.make(
            f"--config={file}",
            f"--containers={self.containers}",
            f"--listen={self.socket}",
            "--limit=downloads=6",
        )
        may_add = service._registry.may_add
        self.assertEqual((may_add("c1", 6), may_add("c1", 7)), (True, False))
        file.write_text("limits: {connections: 8, downloads: 5}")
        self.on_hangup()
        self.assertEqual((may_add("c1", 7), may_add("c1", 8)), (True, False))
        file.write_text("limits: {connections: 0}")
        with capturedLogs() as events:
            self.on_hangup()
        self.assertIn("must be from 1 to 1000000", str(formatEvent(events[0])))
        self.assertEqual((may_add("c1", 7), may_add("c1", 8)), (True, False))

    def test_checks(self) -> None:
        """At the start the directories that are used are checked, and logged."""
        versions: list[str] = []

        def log_checks(version: str, checks: list[startup.Check]) -> None:
            versions.append(version)
            names.extend(check.name for check in checks)

        names: list[str] = []
        self.patch(tap, "log_checks", log_checks)
        arguments = [f"--containers={self.containers}", f"--listen={self.socket}"]
        self.make(*arguments)
        self.assertEqual(versions, [__version__])
        expected = ["containers", "images", "state", "listen"]
        self.assertEqual(names[-4:], expected)
        self.make(*arguments, "--images=lxd:unix:/var/lib/lxd/unix.socket")
        self.assertEqual(names[-3:], ["containers", "state", "listen"])

    def test_reload_of_images(self) -> None:
        """``SIGHUP`` forgets what is remembered of the images of an LXD."""
        calls: list[LXDImageStore] = []

        def reload(store: LXDImageStore) -> None:
            calls.append(store)

        self.patch(LXDImageStore, "reload", reload)
        self.make(
            f"--containers={self.containers}",
            f"--listen={self.socket}",
            "--images=lxd:unix:/var/lib/lxd/unix.socket",
        )
        self.on_hangup()
        self.assertEqual(len(calls), 1)

    def test_output(self) -> None:
        """Writing to standard output, where ``twistd -n`` logs, never blocks."""
        output = io.StringIO()
        self.patch(tap, "nonblocking", lambda file: output)
        self.make(f"--containers={self.containers}", f"--listen={self.socket}")
        self.assertIs(sys.stdout, output)

    def test_clock(self) -> None:
        """The reactor uses the monotonic clock."""
        reactors: list[object] = []
        self.patch(tap, "use_monotonic_clock", reactors.append)
        self.make(f"--containers={self.containers}", f"--listen={self.socket}")
        from twisted.internet import reactor  # noqa: PLC0415 # trial chose it

        self.assertEqual(reactors, [reactor])

    def test_hangup(self) -> None:
        """``SIGHUP`` reloads all containers."""
        self.patch(
            Options,
            "containers",
            lambda _, d: DirectorySource(self.containers / d.name),
        )
        for name in ("lxd", "apollo"):
            (self.containers / name).mkdir()
        reloaded: list[DirectoryStore] = []

        def reload(store: DirectoryStore) -> None:
            reloaded.append(store)

        self.patch(DirectoryStore, "reload", reload)
        services = self.make(
            f"--listen={self.socket}", f"--listen=apollo={self.directory}/a.sock"
        )
        self.on_hangup()
        self.assertEqual(reloaded, [service.store for service in services])

    def test_locks_and_privileges(self) -> None:
        """The process locks its state, and checks its remaining privileges."""
        self.make(f"--containers={self.containers}", f"--listen={self.socket}")
        self.acquire_locks()
        self.assertEqual(
            {path.suffix for path in self.state.iterdir()}, {".sqlite", ".lock"}
        )
        self.check_privileges()
        self.patch(options, "check_may_identify", no_privileges)
        error = self.assertRaises(SystemExit, self.check_privileges)
        self.assertEqual(error.code, "devlxd: CAP is missing")

        def taken(_: object) -> None:
            raise LockedError(5)

        self.patch(LockFile, "acquire", taken)
        error = self.assertRaises(SystemExit, self.acquire_locks)
        self.assertIn(f"(pid 5) serves {self.containers.absolute()}", str(error.code))

    def test_assume_is_logged(self) -> None:
        """``--assume`` logs a warning that callers are not identified."""
        with capturedLogs() as events:
            self.make(
                f"--containers={self.containers}",
                f"--listen={self.socket}",
                "--assume=c1",
            )
        self.assertIn("EVERY caller", str(events))

    def test_demo(self) -> None:
        """``--demo`` needs no other option, no locks and no privileges."""
        service = tap.makeService(self.parse("--demo"))
        assert isinstance(service, ProcessService)
        self.assertEqual([type(child) for child in service], [DemoService])
        service._acquire_locks()
        service._check_privileges()


class PluginTests(SynchronousTestCase):
    """The plugin of ``twistd``."""

    def test_found(self) -> None:
        """The plugin is found, and names the options and the factory of the service."""
        (maker,) = [
            maker for maker in getPlugins(IServiceMaker) if maker.tapname == "devlxd"
        ]
        self.assertIs(maker.options, Options)
        self.assertIs(maker.makeService, tap.makeService)

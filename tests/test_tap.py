"""Tests of `devlxd.tap`: the command line of ``twistd devlxd``."""

from __future__ import annotations

import gc
import os
import tempfile
from pathlib import Path

from twisted.application.service import IServiceMaker, MultiService
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.plugin import getPlugins
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from devlxd import tap
from devlxd.containers.directory import DirectoryStore
from devlxd.containers.memory import MemoryStore
from devlxd.demo import DemoService
from devlxd.images.directory import DirectoryImageStore
from devlxd.images.lxd import LXDImageStore
from devlxd.service import DevLXDService, GuestListener
from devlxd.testing import MemoryDevLXDReactor
from devlxd.web.dialects import APOLLO, LXD


class OptionsTestCase(SynchronousTestCase):
    """Has a directory that can be listened in and one with containers."""

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, self.directory)
        self.socket = f"{self.directory}/sock"
        self.containers = Path(tempfile.mkdtemp(dir="."))
        self.state = Path(tempfile.mkdtemp(dir=".")) / "state"

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
        self.patch(tap, "_check_listen", lambda listen: listen.endpoint)
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
        for images in ("", "/nope", "lxd:", "lxd:unix:", "lxd:tcp:host:8443"):
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
        self.state = self.state.with_name("file")
        self.state.write_text("")
        self.assert_refused("--state", *arguments)
        # apollo has no events, and nothing to remember
        self.parse(*[a.replace("listen=", "listen=apollo=") for a in arguments])

    def test_help(self) -> None:
        """``--help`` tells every option."""
        text = str(tap.Options())
        for option in ("--listen", "--containers", "--images", "--assume", "--demo"):
            self.assertIn(option, text)
        self.assertTrue(issubclass(tap.Options, usage.Options))


class MakeServiceTests(OptionsTestCase):
    """Building the service."""

    def make(self, *arguments: str) -> list[DevLXDService]:
        """Build the service; return the services that listen."""
        self.patch(tap, "spare_collector", lambda stores: None)
        service = tap.makeService(self.parse(*arguments))
        assert isinstance(service, MultiService)
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
            f"--listen=apollo={self.directory}/apollo",
        )
        self.assertEqual(self.directory_of(service), self.containers.absolute())
        listeners = [s for s in service if isinstance(s, GuestListener)]
        self.assertEqual([s.site.dialect for s in listeners], [LXD, APOLLO])

    def test_own_stores(self) -> None:
        """Without it, each dialect has the directory that its document names."""
        self.patch(tap.Options, "containers", lambda _, d: self.containers / d.name)
        for name in ("lxd", "apollo"):
            (self.containers / name).mkdir()
        services = self.make(
            f"--listen={self.socket}", f"--listen=apollo={self.directory}/apollo"
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

    def test_collector(self) -> None:
        """The garbage collector is kept away until all is read, and no longer."""
        self.addCleanup(gc.unfreeze)
        self.addCleanup(gc.enable)
        store = MemoryStore()
        loaded: Deferred[None] = Deferred()
        self.patch(store, "loaded", lambda: loaded)
        tap.spare_collector([store])
        self.assertFalse(gc.isenabled())
        loaded.callback(None)
        self.assertTrue(gc.isenabled())

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
        self.assertIsInstance(tap.makeService(self.parse("--demo")), DemoService)


class PluginTests(SynchronousTestCase):
    """``twistd`` knows the command."""

    def test_found(self) -> None:
        """The plugin is found, and what it names is there."""
        (maker,) = [
            maker for maker in getPlugins(IServiceMaker) if maker.tapname == "devlxd"
        ]
        self.assertIs(maker.options, tap.Options)
        self.assertIs(maker.makeService, tap.makeService)

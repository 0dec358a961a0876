"""Tests of `devlxd.container_sources`, and of the options and commands with them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from devlxd import assembly, options
from devlxd.access_keys import access_keys
from devlxd.commands import served_options
from devlxd.container_sources import DirectorySource, EtcdSource, parse_source
from devlxd.containers.etcd_store import EtcdStore
from devlxd.etcd.kept_file import KeptFile
from devlxd.guestapi.dialects import DEFAULT_DIALECT
from devlxd.limits import CurrentLimits
from devlxd.options import Options
from devlxd.state_directory import StateDirectory, StateError
from devlxd.testing import MemoryDevLXDReactor
from tests.commands.fake_admin import CommandTestCase

LOCATION = "etcd:unix:/nope/one?prefix=/devlxd/h1/"
OTHER_MEMBER = "etcd:unix:/nope/two,unix:/nope/one?prefix=/devlxd/h1/"
OTHER_HOST = "etcd:unix:/nope/one?prefix=/devlxd/h2/"


class SourceTests(SynchronousTestCase):
    """Where containers come from."""

    def test_parsed(self) -> None:
        """What begins with ``etcd:`` is in etcd, all else is a directory."""
        source = parse_source(LOCATION)
        self.assertIsInstance(source, EtcdSource)
        self.assertEqual(str(source), "etcd:/devlxd/h1/")
        self.assertEqual(
            parse_source("/srv/etcd:x"), DirectorySource(Path("/srv/etcd:x"))
        )
        self.assertRaises(ValueError, parse_source, "etcd:")

    def test_key(self) -> None:
        """The prefix decides, not the endpoints: they may change."""
        keys = [parse_source(text).key for text in (LOCATION, OTHER_MEMBER, OTHER_HOST)]
        self.assertEqual(keys[0], keys[1])
        self.assertNotEqual(keys[0], keys[2])

    def test_store(self) -> None:
        """The store follows all members, and keeps its documents in the state."""
        reactor, state = MemoryDevLXDReactor(), Path(tempfile.mkdtemp(dir="."))
        source = parse_source(OTHER_MEMBER)
        store = source.make_store(
            reactor,
            access_keys([DEFAULT_DIALECT]),
            CurrentLimits(),
            lambda: StateDirectory(state).kept(source),
        )
        assert isinstance(store, EtcdStore)
        self.addCleanup(store.stopService)
        store.startService()
        (kept,) = [path for path in state.iterdir() if path.suffix == ".kept"]
        self.assertEqual(kept.stat().st_mode & 0o777, 0o600)

    def test_state(self) -> None:
        """A file that another devlxd uses, or a newer one has written, is refused."""
        source, directory = parse_source(LOCATION), Path(tempfile.mkdtemp(dir="."))
        state = StateDirectory(directory)
        state.check(source, DEFAULT_DIALECT)
        file = KeptFile(state.kept(source))
        file.open()
        self.addCleanup(file.close)
        error = self.assertRaises(StateError, state.check, source, DEFAULT_DIALECT)
        self.assertIn("locked", str(error))


class OptionsTests(SynchronousTestCase):
    """``--containers etcd:...``."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(dir=".")).absolute()
        self.patch(options, "check_may_identify", lambda: None)

    def parse(self, containers: str, listen: str = "") -> Options:
        """Parse a command line."""
        parsed = Options()
        parsed.parseOptions(
            [
                f"--containers={containers}",
                f"--listen={listen}{self.directory}/listen",
                f"--state={self.directory}/state",
            ]
        )
        return parsed

    def test_away(self) -> None:
        """Etcd need not answer when devlxd starts; there is no directory to check."""
        for dialect in ("", "apollo="):
            parsed = self.parse(LOCATION, dialect)
            used = [one.option for one in assembly.used_directories(parsed)]
            self.assertNotIn("containers", used)
        (kept,) = (self.directory / "state").glob("*.kept")
        self.assertTrue(kept.exists())

    def test_mistakes(self) -> None:
        """A mistake, and a file that cannot be used, are one line."""
        password = self.directory / "password"
        password.write_text("swordfish")
        password.chmod(0o644)
        for containers, reason in (
            ("etcd:http://one?prefx=/h1/", "there is no parameter prefx"),
            (f"{LOCATION}&user=h1&password-file=/nope/p", "/nope/p: No such file"),
            (f"{LOCATION}&user=h1&password-file={password}", "other users can read"),
        ):
            error = self.assertRaises(SystemExit, self.parse, containers)
            self.assertIn("devlxd: --containers: ", str(error.code))
            self.assertIn(reason, str(error.code))
            self.assertNotIn("swordfish", str(error.code))

    def test_services(self) -> None:
        """Nothing is loaded while etcd is away, but the start is complete."""
        reactor = MemoryDevLXDReactor()
        parsed = self.parse(LOCATION)
        made = assembly.Assembly(parsed, reactor)
        (store,) = [one for one in made.service if isinstance(one, EtcdStore)]
        loaded: Deferred[None] = made.loaded()
        self.addCleanup(store.stopService)
        store.startService()
        self.assertNoResult(loaded)
        store.away("no luck")
        self.successResultOf(loaded)
        self.assertNoResult(store.loaded())

    def test_each(self) -> None:
        """Nobody waits for the sockets of containers that are not known."""
        parsed = Options()
        parsed.parseOptions(
            [
                f"--containers={LOCATION}",
                f"--listen=each:{self.directory}/each",
                f"--state={self.directory}/state",
            ]
        )
        made = assembly.Assembly(parsed, MemoryDevLXDReactor())
        (store,) = [one for one in made.service if isinstance(one, EtcdStore)]
        self.addCleanup(store.stopService)
        store.startService()
        loaded: Deferred[None] = made.loaded()
        store.away("no luck")
        self.successResultOf(loaded)


class CommandTests(CommandTestCase):
    """Commands that are given a location in etcd."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(served_options, "CONFIG", Path("/nope/devlxd.yaml"))

    def test_container(self) -> None:
        """``devlxd container`` edits directories, and says so."""
        status = self.run_command("container", "list", f"--containers={LOCATION}")
        self.assertEqual(status, 2)
        self.assertIn("documents in a directory; use etcdctl", self.error())

    def test_check(self) -> None:
        """``devlxd check`` says why etcd does not answer."""
        self.assertEqual(self.run_command("check", LOCATION), 1)
        self.assertIn("etcd:/devlxd/h1/: unix:/nope/one: ", self.error())
        location = "etcd:https://127.0.0.1:1?prefix=/h1/&ca=/nope/ca"
        self.assertEqual(self.run_command("check", location), 1)
        self.assertIn("etcd:/h1/: /nope/ca: No such file", self.error())
        self.assertEqual(self.run_command("check", "etcd:x"), 2)
        self.assertIn("must have the form", self.error())

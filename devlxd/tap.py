# -*- test-case-name: tests.test_tap -*-
"""Command line -> service: ``twistd devlxd``.

The only place that meets the reactor.
"""

from __future__ import annotations

import hashlib
import os
import re
import resource
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar, cast

from attrs import evolve, frozen
from twisted.application.service import IService
from twisted.copyright import version as twisted_version
from twisted.internet.base import ReactorBase
from twisted.internet.defer import gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorCore
from twisted.logger import Logger
from twisted.python import usage

from devlxd import __version__
from devlxd.containers.directory import DirectoryStore
from devlxd.demo import DemoService
from devlxd.events.journal import (
    KEPT,
    MAX_BYTES,
    MAX_CONTAINER_BYTES,
    JournalError,
    SQLiteJournal,
)
from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.dialects import DEFAULT_DIALECT, DIALECTS
from devlxd.guestapi.downloads import MAX_DOWNLOADS
from devlxd.host.inotify import INotify
from devlxd.host.listening import check_endpoint, endpoint_at
from devlxd.host.process import (
    LockedError,
    LockFile,
    ProcessService,
    disable_gc_until,
    use_monotonic_clock,
)
from devlxd.host.stdout import without_waiting
from devlxd.httpserver.registry import MAX_CONNECTIONS
from devlxd.images.directory_images import DirectoryImageStore
from devlxd.images.upstream_images import LXDImageStore
from devlxd.interfaces import (
    ICallerIdentifier,
    IDevLXDReactor,
    IImageStore,
    IPeerSource,
)
from devlxd.model import is_container_name
from devlxd.peers.capabilities import check_may_identify
from devlxd.peers.identifier import AssumedIdentifier
from devlxd.peers.peer_sources import AnonymousPeerSource
from devlxd.service import DevLXDService

_log = Logger()

#: The images of an LXD, by its socket.
_LXD_IMAGES = re.compile(r"lxd:unix:(.+)", re.DOTALL)

#: ``DIALECT=`` before an endpoint.
_DIALECT = re.compile(r"([A-Za-z0-9_-]+)=(.*)", re.DOTALL)


@frozen
class Listen:
    """One ``--listen``: a dialect, and the endpoint as it was typed."""

    dialect: Dialect
    endpoint: str

    def switched_by(self, key: str) -> Listen:
        """Return the same, with another config key that switches the API off."""
        return evolve(self, dialect=evolve(self.dialect, switch=key))


class Options(usage.Options):
    """What ``twistd devlxd`` may be told."""

    longdesc = (
        "Answers the guest API of LXD, /dev/lxd/sock, for the containers of this "
        "host. Bind the socket into each container; the README tells how. One "
        f"container has at most {MAX_CONNECTIONS} connections and {MAX_DOWNLOADS} "
        f"downloads at a time. Of its events the last {KEPT} are kept, in at most "
        f"{MAX_CONTAINER_BYTES >> 20} MiB; of those of all containers, "
        f"{MAX_BYTES >> 20} MiB. docs/limits.rst tells of the other bounds."
    )

    optParameters: ClassVar[list[list[object]]] = [
        [
            "containers",
            "c",
            None,
            "The directory with one document a container. "
            "[default: /var/lib/lxd/containers, for apollo "
            "/var/lib/apollo/containers]",
        ],
        [
            "images",
            "i",
            None,
            "The directory with the images that guests may download, or "
            "lxd:unix:SOCKET for those of the LXD that listens there. "
            "[default: /var/lib/lxd/images]",
        ],
        [
            "state",
            "s",
            "/var/lib/devlxd",
            "The directory for devlxd's own memory: the recent events of each "
            "container. It is made if need be.",
        ],
        [
            "switch",
            None,
            None,
            "The config key that switches the API off for a container: another "
            "one where an LXD has a guest API of its own. [default: "
            "security.devlxd, for apollo security.devapollo]",
        ],
        [
            "assume",
            "a",
            None,
            "Answer every caller as this container, whoever it is. "
            "To try things out, and for nothing else.",
        ],
    ]

    optFlags: ClassVar[list[list[object]]] = [
        [
            "demo",
            None,
            "Serve a made-up container from a temporary directory and print "
            "what to type.",
        ],
    ]

    compData = usage.Completions(
        optActions={
            "containers": usage.CompleteDirs(),
            "images": usage.CompleteDirs(),
            "listen": usage.CompleteFiles(),
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self["listen"] = []

    def opt_listen(self, value: str) -> None:
        """[DIALECT=]ENDPOINT to listen at; may be repeated.

        ENDPOINT is a directory, made if need be (the socket is "sock" in it),
        the path of a socket that is named "sock" or "*.sock", or a Twisted
        endpoint string such as unix:PATH. DIALECT is lxd or apollo.
        [default: /var/lib/lxd/devlxd, for apollo /var/lib/apollo/devapollo]
        """
        match = _DIALECT.fullmatch(value)
        name, endpoint = match.groups() if match else (DEFAULT_DIALECT.name, value)
        if name not in DIALECTS:
            known = ", ".join(DIALECTS)
            raise usage.UsageError(f"--listen: no dialect {name}; there are {known}")
        if not value:
            raise usage.UsageError("--listen: nothing is given")
        dialect = DIALECTS[name]
        self["listen"].append(Listen(dialect, endpoint or str(dialect.socket)))

    opt_l = opt_listen

    def opt_version(self) -> None:
        """Print the versions of devlxd and Twisted, and exit."""
        print(f"devlxd {__version__} (Twisted {twisted_version})")  # noqa: T201
        raise SystemExit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the command line.

        :raises SystemExit: when it cannot be carried out, with one line that
            says why; twistd itself would print all the options and exit with 0.
        """
        with _giving_up():
            super().parseOptions(options)

    def parseArgs(self, *arguments: str) -> None:
        """Take no arguments."""
        if arguments:
            raise usage.UsageError(f"no arguments are expected: {arguments[0]}")

    def postOptions(self) -> None:
        """Check what can be checked before anything starts."""
        for option in ("containers", "images", "state", "switch", "assume"):
            if self[option] == "":
                raise usage.UsageError(f"--{option}: nothing is given")
        if self["demo"]:
            self._check_demo()
            return
        if not self["listen"]:
            default = Listen(DEFAULT_DIALECT, str(DEFAULT_DIALECT.socket))
            self["listen"].append(default)
        if self["switch"] is not None:
            self["listen"] = [at.switched_by(self["switch"]) for at in self["listen"]]
        if self["assume"] is not None and not is_container_name(self["assume"]):
            raise usage.UsageError(f"--assume: {self['assume']} is no container's name")
        self._check_privileges()
        addresses = set()
        for listen in self["listen"]:
            address = _check_listen(listen, self["assume"] is None)
            if address in addresses:
                raise usage.UsageError(f"--listen: {listen.endpoint} is given twice")
            addresses.add(address)
            _check_directory("containers", self.containers(listen.dialect))
        self._check_images()
        for listen in self["listen"]:
            if listen.dialect.events:
                self._check_state(listen.dialect)

    def _check_demo(self) -> None:
        for option in ("listen", "containers", "images", "switch", "assume"):
            if self[option]:
                raise usage.UsageError(f"--demo goes without --{option}")

    def _check_images(self) -> None:
        images = self["images"]
        if images and not any(listen.dialect.images for listen in self["listen"]):
            raise usage.UsageError(f"--images: {images}: no dialect has images")
        if images is not None and _LXD_IMAGES.fullmatch(images) is None:
            if images.startswith("lxd:"):
                raise usage.UsageError(f"--images: {images}: not lxd:unix:SOCKET")
            _check_directory("images", Path(images))

    def _check_privileges(self) -> None:
        if self["assume"] is None:
            try:
                check_may_identify()
            except PermissionError as error:
                raise usage.UsageError(str(error)) from None

    def check_privileges(self) -> None:
        """Check whether guests can still be known, after ``twistd --uid``.

        :raises SystemExit: when they cannot.
        """
        with _giving_up():
            self._check_privileges()

    def _check_state(self, dialect: Dialect) -> None:
        with self._errors_of_state(dialect):
            try:
                Path(self["state"]).mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock(dialect).check()
            except (FileExistsError, NotADirectoryError, PermissionError):
                raise
            except OSError:
                # A full disk costs guests the past, and nothing else.
                pass
            self.journal(dialect).check()

    def lock_state(self) -> None:
        """Keep other processes away from what is remembered.

        :raises SystemExit: when another one was faster.
        """
        dialects = [at.dialect for at in self["listen"] if at.dialect.events]
        # One lock where they serve the same containers.
        by_path = {self._state_of(dialect, ""): dialect for dialect in dialects}
        for dialect in by_path.values():
            with _giving_up(), self._errors_of_state(dialect), suppress(OSError):
                self._lock(dialect).acquire()

    @contextmanager
    def _errors_of_state(self, dialect: Dialect) -> Iterator[None]:
        try:
            yield
        except LockedError as error:
            other = f"another devlxd (pid {error.pid})"
            reason: object = f"{other} serves {self.containers(dialect)}"
        except (OSError, JournalError) as error:
            reason = getattr(error, "strerror", None) or error
        else:
            return
        raise usage.UsageError(f"--state: {self['state']}: {reason}")

    def journal(self, dialect: Dialect) -> SQLiteJournal:
        """Return what remembers the events of a dialect's containers."""
        return SQLiteJournal(self._state_of(dialect, ".sqlite"))

    def _lock(self, dialect: Dialect) -> LockFile:
        return LockFile(self._state_of(dialect, ".lock"))

    def _state_of(self, dialect: Dialect, suffix: str) -> str:
        directory = os.fsencode(self.containers(dialect).resolve())
        name = hashlib.sha256(directory).hexdigest()[:32]
        return str(Path(self["state"]).absolute() / f"{name}{suffix}")

    def images(
        self, dialects: Iterable[Dialect], reactor: IDevLXDReactor
    ) -> IImageStore | None:
        """Return the images for the guests of some dialects; ``None`` for none."""
        defaults = [dialect.images for dialect in dialects if dialect.images]
        if not defaults:
            return None
        upstream = _LXD_IMAGES.fullmatch(self["images"] or "")
        if upstream is not None:
            return LXDImageStore(os.path.abspath(upstream[1]), reactor)
        directory = Path(self["images"] or defaults[0]).absolute()
        return DirectoryImageStore(directory, reactor)

    def containers(self, dialect: Dialect) -> Path:
        """Return the directory with the containers that ``dialect`` serves."""
        return Path(self["containers"] or dialect.containers).absolute()


def _check_listen(listen: Listen, identified: bool) -> str:
    try:
        return check_endpoint(listen.endpoint, identified)
    except (CannotListenError, ValueError) as error:
        why = getattr(error, "socketError", error)
        reason = getattr(why, "strerror", None) or why
        raise usage.UsageError(f"--listen: {listen.endpoint}: {reason}") from None


def _check_directory(option: str, path: Path) -> None:
    try:
        os.listdir(path)
    except OSError as error:
        raise usage.UsageError(f"--{option}: {path}: {error.strerror}") from None


@contextmanager
def _giving_up() -> Iterator[None]:
    """Make of a `UsageError` a `SystemExit`, with one line."""
    try:
        yield
    except usage.UsageError as error:
        line = " ".join(str(error).split())
        raise SystemExit(f"devlxd: {line}") from None


def makeService(options: Options) -> IService:
    """Build the service that the command line asks for."""
    from twisted.internet import reactor as installed  # noqa: PLC0415

    reactor = cast(IDevLXDReactor, installed)
    use_monotonic_clock(cast(ReactorBase, installed))
    # twistd makes this its log, with -n.
    sys.stdout = without_waiting(sys.stdout)
    _allow_many_connections()
    if options["demo"]:
        return _demo_service(reactor, cast(IReactorCore, installed))
    identifier, peers = _callers(options["assume"])
    by_directory: dict[Path, list[Listen]] = {}
    for listen in options["listen"]:
        directory = options.containers(listen.dialect).resolve()
        by_directory.setdefault(directory, []).append(listen)
    stores: list[DirectoryStore] = []

    def reload() -> None:
        for store in stores:
            store.reload()

    service = ProcessService(
        reactor,
        take_locks=options.lock_state,
        check=options.check_privileges,
        hang_up=reload,
    )
    for directory, listens in by_directory.items():
        store = DirectoryStore(directory, reactor, INotify(reactor))
        store.setServiceParent(service)
        stores.append(store)
        endpoints = [(at.dialect, endpoint_at(reactor, at.endpoint)) for at in listens]
        journal = options.journal(listens[0].dialect)
        images = options.images([at.dialect for at in listens], reactor)
        DevLXDService(
            reactor, store, endpoints, identifier, peers, journal, images
        ).setServiceParent(service)
    loaded = gatherResults([store.loaded() for store in stores], consumeErrors=True)
    disable_gc_until(loaded)
    loaded.addErrback(lambda why: _log.failure("containers were not loaded", why))
    return service


def _demo_service(reactor: IDevLXDReactor, core: IReactorCore) -> IService:
    """Build the demo; it stops when its terminal goes away."""
    service = ProcessService(
        reactor, take_locks=_nothing, check=_nothing, hang_up=core.stop
    )
    DemoService(reactor).setServiceParent(service)
    return service


def _nothing() -> None:
    """Do nothing."""


def _callers(
    assumed: str | None,
) -> tuple[ICallerIdentifier | None, IPeerSource | None]:
    if assumed is None:
        return None, None
    _log.warn(
        "EVERY caller is taken for the root of {name}, whoever it is (--assume)",
        name=assumed,
    )
    return AssumedIdentifier(assumed), AnonymousPeerSource()


def _allow_many_connections() -> None:
    """Allow as many open files as this process may have; the default is few."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

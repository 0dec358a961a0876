# -*- test-case-name: tests.test_tap -*-
"""Command line -> service: ``twistd devlxd``.

The only place that meets the reactor.
"""

from __future__ import annotations

import gc
import hashlib
import os
import re
import resource
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, NoReturn, cast

from attrs import frozen
from twisted.application.service import IService, MultiService
from twisted.internet.defer import gatherResults
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python import usage

from devlxd.containers.directory import DirectoryStore
from devlxd.demo import DemoService
from devlxd.events.journal import JournalError, SQLiteJournal
from devlxd.images.directory import DirectoryImageStore
from devlxd.images.lxd import LXDImageStore
from devlxd.inotify import INotify
from devlxd.interfaces import (
    ICallerIdentifier,
    IContainerStore,
    IDevLXDReactor,
    IImageStore,
    IPeerSource,
)
from devlxd.listening import check_endpoint, endpoint_at
from devlxd.model import is_container_name
from devlxd.peers.credentials import AnonymousPeerSource
from devlxd.peers.identify import AssumedIdentifier
from devlxd.service import DevLXDService
from devlxd.web.dialects import DIALECTS, LXD, Dialect

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


class Options(usage.Options):
    """What ``twistd devlxd`` may be told."""

    longdesc = """Answers the guest API of LXD, /dev/lxd/sock, for the
    containers of this host. Bind the socket into each container; the README
    tells how."""

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

        ENDPOINT is the path of a UNIX socket, a directory (its "sock" is
        meant) or a Twisted endpoint string. DIALECT is lxd or apollo.
        [default: /var/lib/lxd/devlxd, for apollo /var/lib/apollo/devapollo]
        """
        match = _DIALECT.fullmatch(value)
        name, endpoint = match.groups() if match else (LXD.name, value)
        if name not in DIALECTS:
            known = ", ".join(DIALECTS)
            raise usage.UsageError(f"--listen: no dialect {name}; there are {known}")
        dialect = DIALECTS[name]
        self["listen"].append(Listen(dialect, endpoint or str(dialect.socket)))

    opt_l = opt_listen

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the command line.

        :raises SystemExit: when it cannot be carried out, with one line that
            says why; twistd itself would print all the options and exit with 0.
        """
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            _give_up(str(error))

    def parseArgs(self, *arguments: str) -> None:
        """Take no arguments."""
        if arguments:
            raise usage.UsageError(f"no arguments are expected: {arguments[0]}")

    def postOptions(self) -> None:
        """Check what can be checked before anything starts."""
        if self["demo"]:
            self._check_demo()
            return
        if not self["listen"]:
            self["listen"].append(Listen(LXD, str(LXD.socket)))
        if self["assume"] is not None and not is_container_name(self["assume"]):
            raise usage.UsageError(f"--assume: {self['assume']} is no container's name")
        addresses = set()
        for listen in self["listen"]:
            address = _check_listen(listen)
            if address in addresses:
                raise usage.UsageError(f"--listen: {listen.endpoint} is given twice")
            addresses.add(address)
            _check_directory("containers", self.containers(listen.dialect))
        self._check_images()
        for listen in self["listen"]:
            if listen.dialect.events:
                self._check_state(listen.dialect)

    def _check_demo(self) -> None:
        for option in ("listen", "containers", "images", "assume"):
            if self[option]:
                raise usage.UsageError(f"--demo goes without --{option}")

    def _check_images(self) -> None:
        images = self["images"]
        if images == "":
            raise usage.UsageError("--images: nothing is given")
        if images and not any(listen.dialect.images for listen in self["listen"]):
            raise usage.UsageError(f"--images: {images}: no dialect has images")
        if images is not None and _LXD_IMAGES.fullmatch(images) is None:
            if images.startswith("lxd:"):
                raise usage.UsageError(f"--images: {images}: not lxd:unix:SOCKET")
            _check_directory("images", Path(images))

    def _check_state(self, dialect: Dialect) -> None:
        try:
            Path(self["state"]).mkdir(mode=0o700, parents=True, exist_ok=True)
            journal = self.journal(dialect)
            journal.open()
            journal.close()
        except (OSError, JournalError) as error:
            reason = getattr(error, "strerror", None) or error
            raise usage.UsageError(f"--state: {self['state']}: {reason}") from None

    def journal(self, dialect: Dialect) -> SQLiteJournal:
        """Return what remembers the events of a dialect's containers."""
        directory = os.fsencode(self.containers(dialect).resolve())
        name = f"{hashlib.sha256(directory).hexdigest()[:32]}.sqlite"
        return SQLiteJournal(str(Path(self["state"]).absolute() / name))

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


def _check_listen(listen: Listen) -> str:
    try:
        return check_endpoint(listen.endpoint)
    except (CannotListenError, ValueError) as error:
        why = getattr(error, "socketError", error)
        reason = getattr(why, "strerror", None) or why
        raise usage.UsageError(f"--listen: {listen.endpoint}: {reason}") from None


def _check_directory(option: str, path: Path) -> None:
    try:
        os.listdir(path)
    except OSError as error:
        raise usage.UsageError(f"--{option}: {path}: {error.strerror}") from None


def _give_up(reason: str) -> NoReturn:
    line = " ".join(reason.split())
    raise SystemExit(f"devlxd: {line}")


def makeService(options: Options) -> IService:
    """Build the service that the command line asks for."""
    from twisted.internet import reactor as installed  # noqa: PLC0415

    reactor = cast(IDevLXDReactor, installed)
    _allow_many_connections()
    if options["demo"]:
        return DemoService(reactor)
    identifier, peers = _callers(options["assume"])
    by_directory: dict[Path, list[Listen]] = {}
    for listen in options["listen"]:
        directory = options.containers(listen.dialect).resolve()
        by_directory.setdefault(directory, []).append(listen)
    service = MultiService()
    stores = []
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
    spare_collector(stores)
    return service


def spare_collector(stores: Sequence[IContainerStore]) -> None:
    """Keep Python's garbage collector away until the stores are loaded.

    It would go through all snapshots again and again while they are read, for
    longer than guests should wait, and find nothing: a snapshot becomes
    garbage when it is replaced, and that needs no collector.
    """
    gc.disable()

    def loaded(_: object) -> None:
        gc.freeze()
        gc.enable()

    gatherResults([store.loaded() for store in stores]).addCallback(loaded)


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

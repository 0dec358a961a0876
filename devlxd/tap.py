# -*- test-case-name: tests.test_tap -*-
"""``twistd devlxd``: from the options to a service.

This is the only module that imports the reactor. twistd finds `Options` and
`makeService` here (``twisted/plugins/devlxd_plugin.py``).
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

from twisted.application.service import IService, MultiService
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorCore
from twisted.logger import Logger

from devlxd import __version__
from devlxd.access_keys import access_keys
from devlxd.admin.operation import Operation
from devlxd.admin.service import AdminService
from devlxd.containers.directory_store import DirectoryStore
from devlxd.demo import DemoService
from devlxd.guest_states.sqlite_states import SQLiteGuestStates
from devlxd.guestapi.dialect import Dialect
from devlxd.host.connection_handover import ConnectionHandover
from devlxd.host.garbage_collection import disable_gc_until
from devlxd.host.inotify import INotify
from devlxd.host.listening import endpoint_at
from devlxd.host.monotonic_clock import use_monotonic_clock
from devlxd.host.process_service import ProcessService
from devlxd.host.service_manager import take_service_manager
from devlxd.host.socket_files import closed_directory
from devlxd.host.startup import CheckedDirectory, log_checks, run_checks
from devlxd.host.stdout import nonblocking
from devlxd.images.directory_image_store import DirectoryImageStore
from devlxd.images.upstream_image_store import LXDImageStore
from devlxd.interfaces import (
    ICallerIdentifier,
    IDevLXDReactor,
    IImageStore,
    IPeerSource,
)
from devlxd.limits import CurrentLimits
from devlxd.listen_option import ListenOption
from devlxd.logs.choice import PROCESS_CHOICE
from devlxd.options import Options
from devlxd.peers.assumed_identifier import AssumedIdentifier
from devlxd.peers.identifier import CallerIdentifier
from devlxd.peers.peer_sources import AnonymousPeerSource
from devlxd.peers.processes import ProcFS
from devlxd.peers.runtimes import known_runtimes
from devlxd.reloading import Reloader
from devlxd.service import DevLXDService

__all__ = ["Options", "makeService"]

_log = Logger()


def makeService(options: Options) -> IService:
    """See `IServiceMaker.makeService`; also prepare the process."""
    from twisted.internet import reactor as installed  # noqa: PLC0415 # twistd chose it

    reactor = cast(IDevLXDReactor, installed)
    use_monotonic_clock(cast(ReactorBase, installed))
    # With -n, twistd logs to sys.stdout.
    sys.stdout = nonblocking(sys.stdout)
    _raise_file_limit()
    if options["demo"]:
        return _demo_service(reactor, cast(IReactorCore, installed))
    return _process_service(options, reactor)


def _process_service(options: Options, reactor: IDevLXDReactor) -> ProcessService:
    """Build one store and one `DevLXDService` for each directory of containers."""
    _warn_of_closed_directories(options)
    limits = CurrentLimits(options.limits())
    identification = _identification(options["assume"])
    served = [listen.dialect for listen in options["listen"]]
    by_directory: dict[Path, list[ListenOption]] = {}
    for listen in options["listen"]:
        directory = options.containers(listen.dialect).resolve()
        by_directory.setdefault(directory, []).append(listen)
    stores: list[DirectoryStore] = []
    reloads: list[Callable[[], None]] = []
    manager = take_service_manager(os.environ)
    handover = None
    if manager.store is not None:
        handover = ConnectionHandover(manager.store, reactor)

    def loaded() -> Deferred[None]:
        return gatherResults(map(_loaded, stores)).addCallback(lambda _: None)

    reloader = Reloader(options.reread, limits, PROCESS_CHOICE, reloads)
    service = ProcessService(
        reactor,
        acquire_locks=options.acquire_locks,
        check_privileges=options.check_privileges,
        on_hangup=reloader.reload,
        notifier=manager.notifier,
        handover=handover,
        loaded=loaded,
        status=lambda: _status(stores, options),
    )
    admin = _add_admin(service, options, reactor, reloader, limits)
    for directory, listens in by_directory.items():
        store = DirectoryStore(
            directory,
            reactor,
            INotify(reactor),
            access_keys=access_keys(served),
            limits=limits,
        )
        store.setServiceParent(service)
        stores.append(store)
        reloads.append(store.reload)
        images = make_image_store(
            options, [at.dialect for at in listens], reactor, limits
        )
        if isinstance(images, LXDImageStore):
            reloads.append(images.reload)
        guest_api = _guest_api(
            service,
            options,
            reactor,
            store,
            listens,
            identification,
            admin,
            images,
            limits,
        )
        if handover is not None:
            handover.add(guest_api.hand_over, guest_api.adopt)
    disable_gc_until(loaded())
    log_checks(__version__, run_checks(_directories(options)))
    return service


def _directories(options: Options) -> Iterator[CheckedDirectory]:
    """Yield each directory that is used, once."""
    dialects = [at.dialect for at in options["listen"]]
    for path in dict.fromkeys(map(options.containers, dialects)):
        yield CheckedDirectory("containers", str(path))
    defaults = [dialect.images for dialect in dialects if dialect.images]
    if defaults and options.lxd_socket() is None:
        images = str(options["images"] or defaults[0])
        yield CheckedDirectory("images", images, is_needed=False)
    yield CheckedDirectory("state", options["state"], is_written=True)
    for address in sorted(options.addresses):
        if os.path.isabs(address):
            directory = os.path.dirname(address)
            yield CheckedDirectory("listen", directory, True, is_needed=False)


def _guest_api(
    parent: MultiService,
    options: Options,
    reactor: IDevLXDReactor,
    store: DirectoryStore,
    listens: Sequence[ListenOption],
    identification: tuple[ICallerIdentifier | None, IPeerSource | None],
    admin: AdminService | None,
    images: IImageStore | None,
    limits: CurrentLimits,
) -> DevLXDService:
    """Return the new service of one directory of containers, a child of ``parent``."""
    dialects = [at.dialect for at in listens]
    state = options.state()
    identifier, peers = identification
    if identifier is None:
        identifier = CallerIdentifier(store, ProcFS(), known_runtimes(), reactor)
        # It is stopped after the service, so that the guest states do not notice that
        # it ends all runs.
        identifier.setServiceParent(parent)
    states = None
    if any(dialect.guest_states for dialect in dialects):
        path = state.guest_states(store.directory)
        states = SQLiteGuestStates(store, identifier, reactor, path, limits)
    service = DevLXDService(
        reactor,
        store,
        [(at.dialect, endpoint_at(reactor, at.endpoint)) for at in listens],
        identifier,
        peers,
        journal=state.journal(store.directory, limits),
        images=images,
        limits=limits,
        observer=admin.observer_for(store, str(store.directory)) if admin else None,
        states=states,
        location=options["location"],
    )
    service.setServiceParent(parent)
    if admin is not None:
        admin.add(service)
    return service


def _add_admin(
    parent: MultiService,
    options: Options,
    reactor: IDevLXDReactor,
    reloader: Reloader,
    limits: CurrentLimits,
) -> AdminService | None:
    """Add the operator's socket to ``parent``, if there is one.

    It is added first, so that it is stopped last.
    """
    if not options["admin"]:
        return None

    operation = Operation(
        __version__,
        limits=limits.as_mapping,
        reload=reloader.reload,
        seconds=reactor.seconds,
    )
    admin = AdminService(reactor, options["admin"], operation)
    admin.setServiceParent(parent)
    return admin


def _loaded(store: DirectoryStore) -> Deferred[None]:
    """Return a Deferred that fires when a store is loaded, or loading has failed."""
    return store.loaded().addErrback(
        lambda failure: _log.failure(
            "loading the containers of {directory} failed; devlxd serves those that "
            "are loaded",
            failure,
            directory=store.directory,
        )
    )


def _status(stores: Iterable[DirectoryStore], options: Options) -> str:
    """Return what is served, in one line."""
    containers = sum(len(store.names()) for store in stores)
    sockets = len(options["listen"])
    return f"serving {containers} containers at {sockets} sockets"


def make_image_store(
    options: Options,
    dialects: Iterable[Dialect],
    reactor: IDevLXDReactor,
    limits: CurrentLimits | None = None,
) -> LXDImageStore | DirectoryImageStore | None:
    """Return the store of the images that ``--images`` names, or the default store.

    :param limits: the limits of devlxd; default: the usual ones.
    :return: ``None`` if no dialect has images.
    """
    defaults = [dialect.images for dialect in dialects if dialect.images]
    if not defaults:
        return None
    lxd_socket = options.lxd_socket()
    if lxd_socket is not None:
        return LXDImageStore(lxd_socket, reactor, limits=limits)
    directory = Path(options["images"] or defaults[0]).absolute()
    return DirectoryImageStore(directory, reactor, limits)


def _demo_service(reactor: IDevLXDReactor, core: IReactorCore) -> IService:
    """Build the demo, which stops when its terminal is closed (``SIGHUP``)."""
    service = ProcessService(
        reactor,
        acquire_locks=_do_nothing,
        check_privileges=_do_nothing,
        on_hangup=core.stop,
    )
    DemoService(reactor).setServiceParent(service)
    return service


def _do_nothing() -> None:
    """Do nothing: the demo has no state, and identifies no callers."""


def _warn_of_closed_directories(options: Options) -> None:
    """Log the directories that keep unprivileged containers from the sockets."""
    for address in sorted(options.addresses):
        # With --assume, the clients need not be containers.
        if options["assume"] is None and os.path.isabs(address):
            directory = closed_directory(address)
            if directory is not None:
                _log.warn(
                    "unprivileged containers cannot mount {socket}: other users may "
                    "not enter {directory} (chmod o+x)",
                    socket=address,
                    directory=directory,
                )


def _identification(
    assumed: str | None,
) -> tuple[ICallerIdentifier | None, IPeerSource | None]:
    """Return the identifier and the peer source of ``--assume``, ``None`` without it.

    :param assumed: the container that ``--assume`` names; ``None`` without it.
    """
    if assumed is None:
        return None, None
    _log.warn(
        "EVERY caller is treated as root of container {name} (--assume)", name=assumed
    )
    return AssumedIdentifier(assumed), AnonymousPeerSource()


def _raise_file_limit() -> None:
    """Raise the soft limit of open files, which is usually low, to the hard limit."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

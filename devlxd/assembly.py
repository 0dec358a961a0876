# -*- test-case-name: tests.test_tap -*-
"""The services of one process of ``twistd devlxd``, put together from its options."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from devlxd import __version__
from devlxd.access_keys import access_keys
from devlxd.admin.operation import Operation
from devlxd.admin.service import AdminService
from devlxd.container_sources import IContainerSource
from devlxd.guest_states.sqlite_states import SQLiteGuestStates
from devlxd.guestapi.dialect import Dialect
from devlxd.host.connection_handover import ConnectionHandover
from devlxd.host.process_service import ProcessService
from devlxd.host.service_manager import take_service_manager
from devlxd.host.socket_files import closed_directory
from devlxd.host.startup import UsedDirectory
from devlxd.images.directory_image_store import DirectoryImageStore
from devlxd.images.upstream_image_store import LXDImageStore
from devlxd.interfaces import (
    ICallerIdentifier,
    IDevLXDReactor,
    IImageStore,
    IPeerSource,
    IRemoteStore,
    IStoreService,
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
from devlxd.source_states import source_state, source_text
from devlxd.store_loading import is_loaded

_log = Logger()


class Assembly:
    """One store and one `DevLXDService` for each source of containers.

    :param options: the options, which are checked.
    :param reactor: for all services.
    :ivar service: the service of the process, with all others as its children.
    """

    def __init__(self, options: Options, reactor: IDevLXDReactor) -> None:
        self._options = options
        self._reactor = reactor
        self._limits = CurrentLimits(options.limits())
        self._identification = _identification(options["assume"])
        self._stores: dict[IContainerSource, IStoreService] = {}
        self._services: list[DevLXDService] = []
        self._reloads: list[Callable[[], None]] = []
        self._reloader = Reloader(
            options.reread, self._limits, PROCESS_CHOICE, self._reloads
        )
        manager = take_service_manager(os.environ)
        self._handover = None
        if manager.store is not None:
            self._handover = ConnectionHandover(manager.store, reactor)
        self.service = ProcessService(
            reactor,
            acquire_locks=options.acquire_locks,
            check_privileges=options.check_privileges,
            on_hangup=self._reloader.reload,
            notifier=manager.notifier,
            handover=self._handover,
            loaded=self.loaded,
            status=self._status,
        )
        self._admin = self._add_admin()
        for source, listens in self._by_source():
            self._add_source(source, listens)

    def loaded(self) -> Deferred[None]:
        """Return a Deferred that fires when nothing more can be served for now.

        The stores are loaded then, unless their source is away and unknown, and the
        sockets of containers are made. It does not fail.
        """
        loaded = [_loaded(source, store) for source, store in self._stores.items()]
        return gatherResults(loaded).addCallback(lambda _: self._sockets_made())

    def _sockets_made(self) -> Deferred[None]:
        # There are no sockets of containers while these are unknown.
        known = [service for service in self._services if is_loaded(service.store)]
        made = gatherResults([service.sockets_made() for service in known])
        return made.addCallback(lambda _: None)

    def _status(self) -> str:
        """Return what is served, in one line."""
        containers = sum(len(store.names()) for store in self._stores.values())
        listeners = [one for s in self._services for one in s.listeners()]
        sockets = sum(1 if one.sockets is None else one.sockets for one in listeners)
        counts = [sum(s.connections().values()) for s in self._services]
        text = (
            f"serving {containers} containers at {sockets} sockets; "
            f"{sum(counts)} connections"
        )
        states = filter(None, map(source_state, self._stores.values()))
        away = [source_text(state) for state in states if state.problem]
        return "; ".join([text, *away])

    def _add_admin(self) -> AdminService | None:
        """Add the operator's socket, if there is one.

        It is added first, so that it is stopped last.
        """
        if not self._options["admin"]:
            return None
        operation = Operation(
            __version__,
            limits=self._limits.as_mapping,
            reload=self._reloader.reload,
            seconds=self._reactor.seconds,
        )
        admin = AdminService(self._reactor, self._options["admin"], operation)
        admin.setServiceParent(self.service)
        return admin

    def _by_source(self) -> Iterable[tuple[IContainerSource, list[ListenOption]]]:
        """Return the sources of containers, each with the endpoints that serve it."""
        by_key: dict[bytes, tuple[IContainerSource, list[ListenOption]]] = {}
        for listen in self._options["listen"]:
            source = self._options.containers(listen.dialect)
            by_key.setdefault(source.key, (source, []))[1].append(listen)
        return by_key.values()

    def _add_source(
        self, source: IContainerSource, listens: Sequence[ListenOption]
    ) -> None:
        store = source.make_store(
            self._reactor,
            access_keys([at.dialect for at in self._options["listen"]]),
            self._limits,
            lambda: self._options.state().kept(source),
        )
        store.setServiceParent(self.service)
        self._stores[source] = store
        self._reloads.append(store.reload)
        dialects = [at.dialect for at in listens]
        images = make_image_store(self._options, dialects, self._reactor, self._limits)
        if isinstance(images, LXDImageStore):
            self._reloads.append(images.reload)
        guest_api = self._guest_api(source, listens, images)
        guest_api.setServiceParent(self.service)
        self._services.append(guest_api)
        if self._admin is not None:
            self._admin.add(guest_api)
        if self._handover is not None:
            self._handover.add(guest_api.hand_over, guest_api.adopt)

    def _guest_api(
        self,
        source: IContainerSource,
        listens: Sequence[ListenOption],
        images: IImageStore | None,
    ) -> DevLXDService:
        """Return the service of one source of containers."""
        reactor, limits, admin = self._reactor, self._limits, self._admin
        store, state = self._stores[source], self._options.state()
        identifier, peers = self._identification
        if identifier is None:
            identifier = CallerIdentifier(store, ProcFS(), known_runtimes(), reactor)
            # It is stopped after the service, so that the guest states do not notice
            # that it ends all runs.
            identifier.setServiceParent(self.service)
        states = None
        if any(at.dialect.guest_states for at in listens):
            path = state.guest_states(source)
            states = SQLiteGuestStates(store, identifier, reactor, path, limits)
        return DevLXDService(
            reactor,
            store,
            _places(listens),
            identifier,
            peers,
            journal=state.journal(source, limits),
            images=images,
            limits=limits,
            observer=admin.observer_for(store, str(source)) if admin else None,
            states=states,
            location=self._options["location"],
        )


def _places(listens: Iterable[ListenOption]) -> Mapping[Dialect, Sequence[str]]:
    """Return where to listen, by dialect, see `DevLXDService`."""
    places: dict[Dialect, list[str]] = {}
    for at in listens:
        places.setdefault(at.dialect, []).append(at.endpoint)
    return places


def _loaded(source: IContainerSource, store: IStoreService) -> Deferred[None]:
    """Return a Deferred that fires when a store is loaded, or cannot be for now."""
    remote: IRemoteStore | None = IRemoteStore(store, None)
    loaded = store.loaded() if remote is None else remote.settled()
    return loaded.addErrback(
        lambda failure: _log.failure(
            "loading the containers of {directory} failed; devlxd serves those that "
            "are loaded",
            failure,
            directory=str(source),
        )
    )


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


def used_directories(options: Options) -> Iterator[UsedDirectory]:
    """Yield each directory that devlxd uses, once, for the checks at the start."""
    dialects = [at.dialect for at in options["listen"]]
    for source in dict.fromkeys(map(options.containers, dialects)):
        if source.directory is not None:
            yield source.directory
    defaults = [dialect.images for dialect in dialects if dialect.images]
    if defaults and options.lxd_socket() is None:
        images = str(options["images"] or defaults[0])
        yield UsedDirectory("images", images, is_needed=False)
    yield UsedDirectory("state", options["state"], is_written=True)
    for address in sorted(options.addresses):
        if os.path.isabs(address):
            directory = os.path.dirname(address)
            yield UsedDirectory("listen", directory, True, is_needed=False)


def warn_of_closed_directories(options: Options) -> None:
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

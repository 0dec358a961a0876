"""Every seam of devlxd, and nothing else.

A host agent extends the service by providing one of these. Each has a twin in
memory and a suite of contract tests that runs on all providers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IReactorFDSet,
    IReactorSocket,
    IReactorThreads,
    IReactorTime,
    IReactorUNIX,
    ITransport,
)
from zope.interface import Attribute, Interface

from devlxd.model import (
    Caller,
    Claim,
    Container,
    End,
    Event,
    Image,
    Monitor,
    Peer,
    ProcessStatus,
)


class NotInContainer(Exception):
    """The peer cannot be placed; the text says why, for the log only.

    :ivar kind: whose limit of log lines this counts against: the container or
        cgroup and the reason, without what each process says anew.
    """

    def __init__(self, reason: str, kind: Hashable = None) -> None:
        super().__init__(reason)
        self.kind = kind


class ImageError(Exception):
    """An image cannot be had; the text says why, for the log only."""


class IDevLXDReactor(
    IReactorFDSet, IReactorSocket, IReactorTime, IReactorUNIX, IReactorThreads
):
    """What devlxd needs of a reactor."""


class IContainerStore(Interface):
    """Where containers come from."""

    def get(name: str) -> Container | None:
        """Return the present snapshot of the container ``name``.

        Costs no search, and no disk access once the store is loaded.

        :return: the snapshot, or ``None`` where there is no such container.
        """

    def by_id(container_id: str) -> Container | None:
        """Return the present snapshot of the container with an id.

        Costs as little as `get`.

        :return: the snapshot, or ``None`` where no container has that id, or
            more than one.
        """

    def names() -> Collection[str]:
        """Return the names of all containers, in no order."""

    def has(name: str) -> bool:
        """Tell whether there is a container ``name``, known or not.

        :return: true also where its document cannot be read for the moment.
        """

    def loaded() -> Deferred[None]:
        """Wait until every container has been heard of that there was before.

        :return: a new Deferred; it has fired already if that is long ago. If it
            is cancelled, nothing of it is kept.
        """

    def watch(observer: IStoreObserver) -> None:
        """Tell ``observer`` of each change from now on, once a change."""

    def unwatch(observer: IStoreObserver) -> None:
        """Tell ``observer`` of nothing any more.

        :raises ValueError: when it does not watch.
        """


class IStoreObserver(Interface):
    """Who hears of changed containers."""

    def changed(name: str, old: Container | None, new: Container | None) -> None:
        """Hear that one snapshot took the place of another.

        :param old: the snapshot until now; ``None`` for a new container.
        :param new: the snapshot from now on, already what the store's ``get``
            returns; ``None`` for a container that went.
        """


class IEventBus(Interface):
    """Who passes events on to the guests that want to hear them."""

    def subscribe(
        container: str,
        subscriber: ISubscriber,
        types: Collection[str],
        since: int | None = None,
    ) -> ISubscription:
        """Let ``subscriber`` hear of the events of a container from now on.

        It hears nothing before the subscription is resumed for the first time,
        and misses nothing that happens until then.

        :param container: the container's name.
        :param types: the types of events that it hears of.
        :param since: a timestamp, to hear first of what came after it.
        """

    def latest(container: str) -> int:
        """Return the present timestamp of a container, good as ``since``.

        Whoever subscribes with it later hears of everything that happens after
        this call, and of nothing that happened before.

        :param container: the container's name.
        :return: that of its last event, if there was any.
        """


class ISubscription(Interface):
    """What a subscriber holds in its hand."""

    def resume() -> None:
        """Let the subscriber receive, until it pauses."""

    def pause() -> None:
        """Hear nothing until it is resumed, and go on where it was then.

        Harmless if that is so already. Who is paused and falls too far behind is
        cut off.
        """

    def cancel() -> None:
        """Let the subscriber receive nothing any more."""


class ISubscriber(Interface):
    """One guest connection that hears events."""

    def receive(event: Event) -> None:
        """Take one event; each comes once, in order."""

    def end(reason: End) -> None:
        """Take the word that nothing more will come."""


class IJournal(Interface):
    """What is remembered of containers and their events, for who was away.

    It goes by incarnations: numbers that name one container each, and not one
    of the same name that came before or after it.

    It is its own memory: the snapshots in it have of the config and of the
    rest only what events tell of. Any method may raise
    `devlxd.events.journal.JournalError`; that costs what is remembered, and
    nothing else.
    """

    def open() -> None:
        """Begin to remember, unless that was done; before, every method fails."""

    def close() -> None:
        """Ask nothing any more."""

    def set_complete(complete: bool) -> None:
        """Note whether all that was told was recorded.

        What is incomplete when it is closed is forgotten when it is opened.
        """

    def names() -> Mapping[str, int]:
        """Return the last incarnation of each name."""

    def incarnations() -> Collection[int]:
        """Return all incarnations of which something is known."""

    def latest() -> int:
        """Return the timestamp of the last event of all, or 0."""

    def last(incarnation: int) -> tuple[Container, int] | None:
        """Return the last snapshot that was recorded, and its timestamp."""

    def prepare(container: Container) -> Iterator[None]:
        """Do in small steps what `record` of a large snapshot would take long for."""

    def record(
        incarnation: int,
        container: Container,
        since: int,
        timestamp: int,
        events: Sequence[Event],
    ) -> None:
        """Remember a snapshot and the events that led to it, both or nothing.

        :param since: for an incarnation that is not known: the timestamp from
            which on nothing is missing.
        :param timestamp: that of the last event, if there is any.
        """

    def forget(incarnation: int) -> None:
        """Remember nothing of an incarnation any more."""

    def since(
        incarnation: int, timestamp: int, types: Collection[str], most: int
    ) -> tuple[int | None, Sequence[Event], bool]:
        """Return some events of an incarnation after a time, the oldest first.

        However many there are it takes a few milliseconds at most.

        :param types: the types of the events.
        :param most: how long all of them may be, in bytes; if there are any,
            one is returned however long it is.
        :return: the timestamp from which on nothing is missing, ``None`` where
            nothing is known; the events; and whether these are all.
        """


class IImageStore(Interface):
    """Where images come from."""

    def open(fingerprint: str) -> Deferred[IOpenImage | None]:
        """Open an image that every guest may have: a public or a cached one.

        It fires in the end, whatever happens: nobody cancels it, and a guest
        has only so many downloads. That there is none it tells within a tenth
        of a second, or guests can tell by the time why.

        :param fingerprint: 64 hex digits, lower case.
        :return: what is opened, for the caller to close; ``None`` where there
            is none, or it is neither public nor cached. Fails with
            `ImageError` when there is no telling.
        """


class IOpenImage(Interface):
    """An image as it was when it was opened."""

    image: Image = Attribute("What is known of it.")

    is_seekable: bool = Attribute(
        "Whether reading may begin anywhere; else it begins at 0, and goes on "
        "where it has ended."
    )

    def read(start: int, size: int) -> Deferred[bytes]:
        """Read some of its data: those of all its parts in their order.

        One after the other: nothing may be read, nor may it be closed, while
        this has not fired.

        :param start: where to begin, in bytes, before the end.
        :param size: how much to read at most, in bytes, at least 1.
        :return: at least one byte. Fails with `ImageError` when they cannot be
            had, or are not those of the image that was opened.
        """

    def close() -> None:
        """Let go of it, once; nothing can be read any more."""


class IWatcher(Interface):
    """Who watches directories for changes of their entries."""

    def start(listener: IWatchListener) -> None:
        """Begin, and tell ``listener`` from now on.

        Where the kernel has nothing to watch with, nothing can be watched.
        """

    def stop() -> None:
        """Give up every watch."""

    def watch(directory: str) -> int:
        """Watch the entries of ``directory``; links are followed.

        :return: a number for the watch, the same one for the same directory.
        :raises OSError: ``ENOSPC`` when there are too many watches, ``EMFILE``
            when there is nothing to watch with, ``ENOENT`` or ``ENOTDIR`` when
            it is no directory, and others.
        """

    def unwatch(watch: int) -> None:
        """Give up a watch; do nothing if it is over."""

    def poll() -> bool:
        """Tell the listener of what has happened, for some milliseconds.

        :return: whether it was told, before this returns, of all that had
            happened when this was called. If not, it is told of the rest later.
        """


class IWatchListener(Interface):
    """Who hears of changed directories."""

    def touched(watch: int, entry: str, complete: bool) -> None:
        """Hear that an entry of a directory came, went or changed.

        :param complete: false when somebody has begun to write to it, and will
            be heard of when that is done.
        """

    def lost(watch: int) -> None:
        """Hear that a watch is over: its directory went, or went elsewhere."""

    def overflowed() -> None:
        """Hear that events were lost: anything may have changed."""


class ITurns(Interface):
    """Gives turns, round robin by owner, so that none keeps the others waiting.

    Whatever a container can cause without bound is done in turns: accepting,
    requests that are sent ahead, replays. A turn does a bounded amount of work,
    a few milliseconds at most, and takes the next turn for what is left.
    """

    def take(owner: Hashable, work: Callable[[], None]) -> ITurn:
        """Do ``work`` when it is ``owner``'s turn, never before this returns.

        The turns of one owner come in the order in which they were taken.

        :param owner: usually the name of a container.
        :param work: what raises an exception is logged, and costs nobody else
            a turn.
        """

    def waiting(owner: Hashable) -> int:
        """Return how many turns ``owner`` waits for, cancelled ones included."""


class ITurn(Interface):
    """A turn that was taken."""

    def cancel() -> None:
        """Do nothing when it comes; harmless when it has come."""


class IPeerSource(Interface):
    """What the kernel says of the other end of a connection."""

    def hold(transport: ITransport) -> AbstractContextManager[Peer]:
        """Ask who is at the other end of ``transport``.

        The peer's ``pidfd`` is open inside the ``with`` block and nowhere else.

        :raises NotInContainer: on entering the block, when the transport
            cannot tell.
        """


class ICallerIdentifier(Interface):
    """Who finds out what a peer is."""

    def identify(peer: Peer) -> Caller:
        """Find the container that ``peer`` lives in.

        :raises NotInContainer: when it cannot be placed, or any doubt remains.
        """

    def watch(observer: ILifeObserver) -> None:
        """Tell ``observer`` of each life that ends from now on."""

    def unwatch(observer: ILifeObserver) -> None:
        """Tell ``observer`` of nothing any more.

        :raises ValueError: when it does not watch.
        """


class ILifeObserver(Interface):
    """Who hears of ended runs of containers."""

    def ended(life: int) -> None:
        """Hear that the run ``life`` of a container is over.

        Whoever was a caller of it is nobody any more.
        """


class IProcessTable(Interface):
    """What the host's kernel says of processes; every method may be slow once.

    Each raises `OSError` when the process is gone, or may not be looked at.
    """

    def cgroups(pid: int) -> Sequence[str]:
        """Return the paths of the cgroups of ``pid``, one for each hierarchy."""

    def pid_namespaces(pid: int) -> Sequence[int]:
        """Return the pid namespaces that ``pid`` lives in, by their numbers.

        :return: from its own to the outermost below the host's; empty for a
            process of the host.
        """

    def init(pid: int) -> int:
        """Return the process that is pid 1 of ``pid``'s outermost namespace."""

    def id_map(pid: int) -> IIDMap:
        """Return how ``pid``'s user namespace maps the uids that we see."""

    def status(pid: int) -> ProcessStatus:
        """Return what the kernel says of ``pid``, and nobody can make up."""

    def command(pid: int) -> str:
        """Return the command line of ``pid``, a NUL after each word.

        Ask it of the host's own processes only: it is read from the memory of
        ``pid``, which can keep the reader waiting for ever.
        """

    def program(pid: int) -> str:
        """Return the path of the program that ``pid`` runs."""

    def hold(pid: int) -> int:
        """Return a new pidfd of ``pid``, for the caller to close."""

    def is_alive(pidfd: int) -> bool:
        """Tell whether the process that ``pidfd`` names has not ended."""

    def let_go(pidfd: int) -> None:
        """Close ``pidfd``."""


class IIDMap(Interface):
    """Which ids inside a container are which on the host."""

    def inside(host_id: int) -> int | None:
        """Return the id inside of ``host_id``; ``None`` if it has none."""


class IRuntime(Interface):
    """How one runtime names the cgroups of its containers.

    A Twisted plugin that provides this, and `twisted.plugin.IPlugin`, is asked
    as the built-in ones are.
    """

    name: str = Attribute(
        "What documents call it (``runtime:``). A plugin need not have one; no "
        "document can ask for its containers then."
    )

    def claim(cgroup: str) -> Claim | None:
        """Read off the path of a cgroup whose it is.

        Only what the host's root can have made may count: a path has to be
        read from its root, as everything below a container's own cgroup is
        the guest's to choose, and everything below ``user.slice`` some user's.

        :param cgroup: a path as in ``/proc/PID/cgroup``, for example
            ``/lxc.payload.c1/init.scope``.
        :return: ``None`` where this runtime made no such cgroup.
        """


class IMonitoredRuntime(IRuntime):
    """A runtime whose cgroups do not tell for sure whose they are.

    It is asked once for each run of a container, when the run's init is first
    seen.
    """

    def confirm(claim: Claim, monitor: Monitor) -> Claim:
        """Find out whose a run is that has one of this runtime's cgroups.

        :param claim: whose the cgroup of its init seems to be.
        :param monitor: the parent of its init; no guest can make such a
            process, nor choose its command line.
        :return: whose it is, with the runtime, and the LXC path if there is one.
        :raises NotInContainer: when the two contradict each other, or leave a
            doubt.
        """

"""The interfaces between the packages of devlxd, and their exceptions.

A host agent extends the service by providing one of these interfaces. Most of them
have an in-memory provider and a suite of contract tests, see `devlxd.testing`.

This package contains no implementations, and imports only `devlxd.model`. An interface
between the modules of one package belongs in that package.
"""

from devlxd.interfaces.bus import (
    IEventBus,
    ISubscriber,
    ISubscription,
)
from devlxd.interfaces.guest_states import IGuestStates, IReadyObserver
from devlxd.interfaces.identification import (
    IAcceptedTransport,
    ICallerIdentifier,
    IIDMap,
    IMonitoredRuntime,
    IPeerSource,
    IProcessTable,
    IRunIdentifier,
    IRunObserver,
    IRuntime,
    NotInContainer,
)
from devlxd.interfaces.image_stores import (
    IFileImage,
    IImageStore,
    ImageError,
    IOpenImage,
)
from devlxd.interfaces.journal import (
    IJournal,
    JournalError,
    JournalLockedError,
    JournalReplacedError,
    JournalVersionError,
)
from devlxd.interfaces.observation import IServiceObserver
from devlxd.interfaces.operation import IExplainer, IGuestService
from devlxd.interfaces.serving import (
    IAdmission,
    IConnection,
    IConnections,
    IContinuableStream,
    IFileSink,
    IRequestHandler,
    ISink,
    IStream,
)
from devlxd.interfaces.stores import (
    IContainerStore,
    IDocuments,
    IRemoteStore,
    IStoreObserver,
    IStoreService,
)
from devlxd.interfaces.system import (
    IDevLXDReactor,
    IHandoverStore,
    INotifier,
    ITurn,
    ITurns,
    IWatcher,
    IWatchListener,
)

__all__ = [
    "IAcceptedTransport",
    "IAdmission",
    "ICallerIdentifier",
    "IConnection",
    "IConnections",
    "IContainerStore",
    "IContinuableStream",
    "IDevLXDReactor",
    "IDocuments",
    "IEventBus",
    "IExplainer",
    "IFileImage",
    "IFileSink",
    "IGuestService",
    "IGuestStates",
    "IHandoverStore",
    "IIDMap",
    "IImageStore",
    "IJournal",
    "IMonitoredRuntime",
    "INotifier",
    "IOpenImage",
    "IPeerSource",
    "IProcessTable",
    "IReadyObserver",
    "IRemoteStore",
    "IRequestHandler",
    "IRunIdentifier",
    "IRunObserver",
    "IRuntime",
    "IServiceObserver",
    "ISink",
    "IStoreObserver",
    "IStoreService",
    "IStream",
    "ISubscriber",
    "ISubscription",
    "ITurn",
    "ITurns",
    "IWatchListener",
    "IWatcher",
    "ImageError",
    "JournalError",
    "JournalLockedError",
    "JournalReplacedError",
    "JournalVersionError",
    "NotInContainer",
]

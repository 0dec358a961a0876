# -*- test-case-name: tests.test_testing -*-
"""Contract suites: the tests that every provider of an interface has to pass.

Each suite is a mixin for a test case of trial. To run it on a provider of your
own, override its hooks::

    class MyImageStoreTests(ImageStoreContract, SynchronousTestCase):
        def make_store(self) -> MyImageStore:
            return MyImageStore()

devlxd runs the suites on its own providers, too. Suites for optional behaviour
extend the suite for all providers. A test case may combine several suites, as its
provider requires. No suite skips a test, except where the documentation of a hook
says so.

The suites of each interface:

* `IAdmission`: `AdmissionContract`, `LoadingAdmissionContract`
* `ICallerIdentifier`: `CallerIdentifierContract`, `OutsidePeerContract`,
  `EndingRunsContract`
* `IContainerStore`: `ContainerStoreContract`, `LoadingStoreContract`
* `devlxd.etcd.interfaces.IEtcdGateway`: `EtcdGatewayContract`
* `IEventBus`, `ISubscription`: `EventBusContract`
* `IExplainer`: `ExplainerContract`, `OutsideExplainerContract`
* `IGuest`: `GuestContract`, `GuestEventsContract`
* `IGuestStates`: `GuestStatesContract`, `DurableGuestStatesContract`
* `IHandoverStore`: `HandoverStoreContract`
* `IIDMap`: `IDMapContract`
* `IImageStore`, `IOpenImage`: `ImageStoreContract`, `PrivateImageContract`,
  `FileImageContract` for images that are an `IFileImage`
* `IJournal`: `JournalContract`, `DurableJournalContract`
* `IMonitoredRuntime`: `MonitoredRuntimeContract`
* `INotifier`: `NotifierContract`
* `IPeerSource`: `PeerSourceContract`, `PidfdContract`, `UnknownPeerContract`
* `IProcessTable`: `ProcessTableContract`
* `IReadyObserver`: `ReadyObserverContract`
* `IRunIdentifier`: `RunIdentifierContract`
* `IRunObserver`: `RunObserverContract`
* `IRuntime`: `RuntimeContract`
* `IServiceObserver`: `ServiceObserverContract`
* `ISink`: `SinkContract`, `FileSinkContract` for an `IFileSink`
* `IStoreObserver`: `StoreObserverContract`
* `IStream`: `BodyStreamContract`, `MessageStreamContract`, both of which extend
  `StreamContract`
* `IContinuableStream`: `ContinuableStreamContract`
* `ISubscriber`: `SubscriberContract`
* `ITurn`, `ITurns`: `TurnsContract`
* `IWatcher`: `WatcherContract`

These interfaces have no suite:

* `IAcceptedTransport`: only the HTTP server provides it.
* `IConnection`, `IConnections`: only the HTTP server provides them. The tests of
  devlxd check how connections end.
* `IRequestHandler`: only the guest API provides it. The tests of devlxd check its
  responses.
* `IWatchListener`: only the store of a directory provides it. The tests of that
  store check which documents it reads. `WatcherContract` tests how a listener is
  notified.
* `IDocuments`, `IRemoteStore`, `IStoreService`: only the stores of a directory and of
  etcd provide them. The tests of these stores check their faults, and what they serve
  while etcd is away.
* `IExplainer`, `IGuestService`: only the identifier of callers and the service provide
  them. The tests of devlxd check what operators read.
* `IDevLXDReactor`: it only combines interfaces of Twisted.
"""

from devlxd.testing.contracts.admission import (
    AdmissionContract,
    LoadingAdmissionContract,
)
from devlxd.testing.contracts.bus import (
    EventBusContract,
    SubscriberContract,
)
from devlxd.testing.contracts.etcd import (
    EtcdGatewayContract,
)
from devlxd.testing.contracts.guest import (
    GuestContract,
    GuestEventsContract,
)
from devlxd.testing.contracts.guest_states import (
    DurableGuestStatesContract,
    GuestStatesContract,
    ReadyObserverContract,
)
from devlxd.testing.contracts.handover import (
    HandoverStoreContract,
)
from devlxd.testing.contracts.images import (
    FileImageContract,
    ImageStoreContract,
    PrivateImageContract,
)
from devlxd.testing.contracts.journal import (
    DurableJournalContract,
    JournalContract,
)
from devlxd.testing.contracts.notifiers import (
    NotifierContract,
)
from devlxd.testing.contracts.observation import (
    ServiceObserverContract,
)
from devlxd.testing.contracts.peers import (
    CallerIdentifierContract,
    ExplainerContract,
    OutsideExplainerContract,
    OutsidePeerContract,
    PeerSourceContract,
    PidfdContract,
    UnknownPeerContract,
)
from devlxd.testing.contracts.processes import (
    IDMapContract,
    ProcessTableContract,
)
from devlxd.testing.contracts.runs import (
    EndingRunsContract,
    RunIdentifierContract,
    RunObserverContract,
)
from devlxd.testing.contracts.runtimes import (
    MonitoredRuntimeContract,
    RuntimeContract,
)
from devlxd.testing.contracts.sinks import (
    FileSinkContract,
    SinkContract,
)
from devlxd.testing.contracts.stores import (
    ContainerStoreContract,
    LoadingStoreContract,
    StoreObserverContract,
)
from devlxd.testing.contracts.streams import (
    BodyStreamContract,
    ContinuableStreamContract,
    MessageStreamContract,
    StreamContract,
)
from devlxd.testing.contracts.turns import (
    TurnsContract,
)
from devlxd.testing.contracts.watcher import (
    WatcherContract,
)

__all__ = [
    "AdmissionContract",
    "BodyStreamContract",
    "CallerIdentifierContract",
    "ContainerStoreContract",
    "ContinuableStreamContract",
    "DurableGuestStatesContract",
    "DurableJournalContract",
    "EndingRunsContract",
    "EtcdGatewayContract",
    "EventBusContract",
    "ExplainerContract",
    "FileImageContract",
    "FileSinkContract",
    "GuestContract",
    "GuestEventsContract",
    "GuestStatesContract",
    "HandoverStoreContract",
    "IDMapContract",
    "ImageStoreContract",
    "JournalContract",
    "LoadingAdmissionContract",
    "LoadingStoreContract",
    "MessageStreamContract",
    "MonitoredRuntimeContract",
    "NotifierContract",
    "OutsideExplainerContract",
    "OutsidePeerContract",
    "PeerSourceContract",
    "PidfdContract",
    "PrivateImageContract",
    "ProcessTableContract",
    "ReadyObserverContract",
    "RunIdentifierContract",
    "RunObserverContract",
    "RuntimeContract",
    "ServiceObserverContract",
    "SinkContract",
    "StoreObserverContract",
    "StreamContract",
    "SubscriberContract",
    "TurnsContract",
    "UnknownPeerContract",
    "WatcherContract",
]

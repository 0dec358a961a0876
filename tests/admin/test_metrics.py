"""Tests of the metrics."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from devlxd import Container, MemoryStore
from devlxd.admin.metrics import BUCKETS, Metrics, RequestCounter
from devlxd.admin.operation import Guests, Operation
from devlxd.admin.records import Records
from devlxd.guest_states.memory import MemoryGuestStates
from devlxd.interfaces import (
    IDocuments,
    IGuestService,
    IRemoteStore,
    IServiceObserver,
)
from devlxd.model import (
    Caller,
    Explanation,
    Fault,
    Listener,
    Refusal,
    SourceState,
)
from devlxd.testing import MemoryDevLXDReactor, MemoryIdentifier
from devlxd.testing.contracts import ServiceObserverContract
from tests.admin.operators import count


@implementer(IDocuments, IRemoteStore)
class FaultyStore(MemoryStore):
    """A store with three faults in two documents, of which one cannot be used."""

    def source_state(self) -> SourceState:
        """See `IRemoteStore.source_state`."""
        return SourceState("etcd:/h1/", True, 2.5)

    def settled(self) -> Deferred[None]:
        """See `IRemoteStore.settled`."""
        return self.loaded()

    def document_of(self, name: str) -> str | None:
        """See `IDocuments.document_of`."""
        return f"/c/{name}.yaml"

    def faults(self) -> list[Fault]:
        """See `IDocuments.faults`."""
        return [
            Fault("/c/c1.yaml", 1, "first", "c1"),
            Fault("/c/c1.yaml", 2, "second", "c1"),
            Fault("/c/c2.yaml", 1, "a warning", "c2", breaks=False),
        ]

    def problem(self) -> str | None:
        """See `IDocuments.problem`."""
        return None


@implementer(IGuestService)
class Service:
    """A service with some connections."""

    def __init__(self) -> None:
        self.store = FaultyStore()
        self.store.put(Container("c1", {"user.password": "secret-value"}))
        identifier = MemoryIdentifier({})
        self.states = MemoryGuestStates(self.store, identifier, MemoryDevLXDReactor())

    def listeners(self) -> list[Listener]:
        """See `IGuestService.listeners`."""
        return []

    def callers(self) -> list[Caller]:
        """See `IGuestService.callers`."""
        return []

    def connections(self) -> dict[str | None, int]:
        """See `IGuestService.connections`."""
        return {"c1": 2, None: 1}

    def subscribers(self) -> dict[str, int]:
        """See `IGuestService.subscribers`."""
        return {"c1": 1}

    def journal_bytes(self) -> int:
        """See `IGuestService.journal_bytes`."""
        return 4096

    def explain(self, pid: int) -> Explanation:
        """See `IGuestService.explain`."""
        return Explanation(pid, ())


def operation_of(*services: Service) -> Operation:
    """Return a process with these services."""
    guests = [Guests(service, Records(service.store)) for service in services]
    return Operation("1.2", guests)


class RequestCounterTests(ServiceObserverContract, SynchronousTestCase):
    """`RequestCounter`."""

    def make_observer(self) -> IServiceObserver:
        """See `ServiceObserverContract.make_observer`."""
        return RequestCounter()


class MetricsTests(SynchronousTestCase):
    """`Metrics`."""

    def setUp(self) -> None:
        self.assertTrue(verifyObject(IGuestService, Service()))
        operation = operation_of(Service(), Service())
        self.metrics = Metrics(operation)
        counter = self.metrics.counter
        count(counter, "toy", 200, 0.002)
        count(counter, "toy", 404, 0.3)
        counter.refused("c1", Refusal.SWITCHED_OFF, "no")
        counter.recorded("c1", 3)
        counter.lost("c1")

    def samples(self, families: Iterable[Metric]) -> dict[str, float]:
        """Return the samples of devlxd: name and labels, and value."""
        return {
            sample.name + str(sorted(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
            if sample.name.startswith("devlxd")
        }

    def text(self, accept: str = "") -> str:
        """Return the rendered metrics."""
        return self.metrics.render(accept)[0].decode()

    def test_samples(self) -> None:
        """All metrics have the names and values that the documentation gives."""
        samples = self.samples(text_string_to_metric_families(self.text()))
        bounds = {name for name in samples if "bucket" in name}
        self.assertEqual(len(bounds), len(BUCKETS) + 1)
        self.assertEqual(
            {name: value for name, value in samples.items() if name not in bounds},
            {
                "devlxd_build_info[('version', '1.2')]": 1,
                "devlxd_requests_total[('code', '200'), ('dialect', 'toy')]": 1,
                "devlxd_requests_total[('code', '404'), ('dialect', 'toy')]": 1,
                "devlxd_request_seconds_count[]": 2,
                "devlxd_request_seconds_sum[]": 0.302,
                "devlxd_refused_total[('reason', 'not_in_container')]": 0,
                "devlxd_refused_total[('reason', 'switched_off')]": 1,
                "devlxd_refused_total[('reason', 'not_permitted')]": 0,
                "devlxd_refused_total[('reason', 'too_many_connections')]": 0,
                "devlxd_events_total[]": 3,
                "devlxd_events_lost_total[]": 1,
                "devlxd_healthy[]": 0,
                "devlxd_connections[]": 6,
                "devlxd_subscribers[]": 2,
                "devlxd_containers[]": 2,
                "devlxd_broken_documents[]": 2,
                "devlxd_journal_bytes[]": 8192,
                "devlxd_source_answering[('source', 'etcd:/h1/')]": 1,
                "devlxd_source_age_seconds[('source', 'etcd:/h1/')]": 2.5,
            },
        )

    def test_documented(self) -> None:
        """The page on the operator's socket has a row for each metric."""
        page = (Path(__file__).parents[2] / "docs" / "admin.rst").read_text()
        documented = re.findall(r"\* - ``(devlxd_\w+)``", page)
        types = re.findall(r"# TYPE (devlxd_\w+)", self.text())
        self.assertEqual(sorted(documented), sorted(types))

    def test_openmetrics(self) -> None:
        """A client that accepts OpenMetrics receives that format."""
        body, content_type = self.metrics.render("application/openmetrics-text")
        self.assertTrue(content_type.startswith("application/openmetrics-text"))
        families = openmetrics.text_string_to_metric_families(body.decode())
        self.assertIn("devlxd_events_total[]", self.samples(families))

    def test_text(self) -> None:
        """Any other client receives the text format of Prometheus."""
        self.assertTrue(self.metrics.render("*/*")[1].startswith("text/plain"))

    def test_process(self) -> None:
        """The metrics of the process are there as well, such as its descriptors."""
        self.assertIn("\nprocess_open_fds ", self.text())

    def test_two(self) -> None:
        """Two services of one process have metrics of their own."""
        other = Metrics(operation_of())
        self.assertIn("devlxd_connections 0.0", other.render("")[0].decode())

    def test_no_values(self) -> None:
        """Nothing of a document is in the metrics."""
        self.assertNotIn("secret-value", self.text())

# -*- test-case-name: tests.admin.test_metrics -*-
"""Metrics in the formats of Prometheus.

Counting is done in plain dictionaries, as it is part of every question. They become
samples only when the metrics are read.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from zope.interface import implementer

from devlxd.admin.operation import Operation
from devlxd.admin.request import AdminRequest
from devlxd.admin.resource import AdminResource
from devlxd.admin.responses import AdminResponse
from devlxd.interfaces import IServiceObserver
from devlxd.model import Refusal, SourceState
from devlxd.observers import NullObserver

#: The upper bounds of the buckets of ``devlxd_request_seconds``, in seconds.
BUCKETS = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01),
    *(0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)

#: How many times are kept before they are sorted into buckets.
MAX_TIMES = 1000

_BUCKET_OF = partial(bisect_left, BUCKETS)


@implementer(IServiceObserver)
class RequestCounter(NullObserver):
    """An observer that counts what guests do; `OperatorObserver` counts the responses.

    No number of it has a name that a guest can choose.

    :ivar requests: the number of responses by dialect and status code.
    :ivar times: the times of the last responses, in seconds, until `sort_times`.
    :ivar buckets: the number of responses by their time, for each of `BUCKETS` and for
        longer times, without those in ``times``.
    :ivar seconds: the sum of these times.
    :ivar refusals: the number of refusals by kind.
    :ivar events: the number of events of all containers.
    :ivar lost_events: how many times a subscriber was sent the event ``lost``.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.times: list[float] = []
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0
        self.refusals: Counter[Refusal] = Counter()
        self.events = 0
        self.lost_events = 0

    def sort_times(self) -> None:
        """Sort the last times into the buckets: cheaper for many than for each."""
        for bucket, count in Counter(map(_BUCKET_OF, self.times)).items():
            self.buckets[bucket] += count
        self.seconds += sum(self.times)
        self.times.clear()

    def refused(self, container: str | None, refusal: Refusal, reason: str) -> None:
        """See `IServiceObserver.refused`."""
        self.refusals[refusal] += 1

    def recorded(self, container: str, count: int) -> None:
        """See `IServiceObserver.recorded`."""
        self.events += count

    def lost(self, container: str) -> None:
        """See `IServiceObserver.lost`."""
        self.lost_events += 1


class ServiceCollector(Collector):
    """The metrics of guest services, collected when they are read.

    :param counter: observes the services.
    :param operation: has the services.
    """

    def __init__(self, counter: RequestCounter, operation: Operation) -> None:
        self._counter = counter
        self._operation = operation

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector.collect`."""
        yield InfoMetricFamily(
            "devlxd_build",
            "The version of devlxd.",
            {"version": self._operation.version},
        )
        yield from self._collect_requests()
        yield from self._collect_refusals()
        yield CounterMetricFamily(
            "devlxd_events", "Events of all containers.", self._counter.events
        )
        yield CounterMetricFamily(
            "devlxd_events_lost",
            "How many times a subscriber was told that events were lost.",
            self._counter.lost_events,
        )
        yield from self._collect_gauges()
        yield from _collect_sources(self._operation.sources())

    def _collect_requests(self) -> Iterator[Metric]:
        counter = self._counter
        requests = CounterMetricFamily(
            "devlxd_requests", "Responses to guests.", labels=["dialect", "code"]
        )
        for (dialect, code), count in sorted(counter.requests.items()):
            requests.add_metric([dialect, str(code)], count)
        yield requests
        counter.sort_times()
        total, buckets = 0, []
        for bound, count in zip(
            (*map(str, BUCKETS), "+Inf"), counter.buckets, strict=True
        ):
            total += count
            buckets.append((bound, total))
        yield HistogramMetricFamily(
            "devlxd_request_seconds",
            "Time from the end of a request to the begin of its response.",
            buckets=buckets,
            sum_value=counter.seconds,
        )

    def _collect_refusals(self) -> Iterator[Metric]:
        refused = CounterMetricFamily(
            "devlxd_refused", "Refused connections and requests.", labels=["reason"]
        )
        for refusal in Refusal:
            # A counter that begins at 0 shows the first refusal as an increase.
            refused.add_metric(
                [refusal.name.lower()], self._counter.refusals.get(refusal, 0)
            )
        yield refused

    def _collect_gauges(self) -> Iterator[Metric]:
        guests = self._operation.guests
        services = [each.service for each in guests]
        yield GaugeMetricFamily(
            "devlxd_healthy",
            "Whether guests can be served: 1 or 0.",
            not any(True for _ in self._operation.failures()),
        )
        yield GaugeMetricFamily(
            "devlxd_connections",
            "Open connections of guests.",
            sum(sum(service.connections().values()) for service in services),
        )
        yield GaugeMetricFamily(
            "devlxd_subscribers",
            "Connections of guests that receive events.",
            sum(sum(service.subscribers().values()) for service in services),
        )
        yield GaugeMetricFamily(
            "devlxd_containers",
            "Containers with a document.",
            sum(len(each.names()) for each in guests),
        )
        yield GaugeMetricFamily(
            "devlxd_broken_documents",
            "Documents of containers that cannot be used.",
            sum(len(each.broken()) for each in guests),
        )
        yield GaugeMetricFamily(
            "devlxd_journal_bytes",
            "Size of the journals of events.",
            sum(service.journal_bytes() for service in services),
        )


def _collect_sources(sources: Sequence[SourceState]) -> Iterator[Metric]:
    """Yield the metrics of remote sources; nothing if there is none."""
    if not sources:
        return
    answering = GaugeMetricFamily(
        "devlxd_source_answering",
        "Whether the remote source of the documents answers: 1 or 0.",
        labels=["source"],
    )
    age = GaugeMetricFamily(
        "devlxd_source_age_seconds",
        "When the served documents were last known to agree with their source.",
        labels=["source"],
    )
    for source in sources:
        answering.add_metric([source.source], source.is_answering)
        if source.age is not None:
            age.add_metric([source.source], source.age)
    yield answering
    yield age


class Metrics:
    """The metrics of guest services and of this process, on a registry of their own.

    :param operation: has the services.
    :ivar counter: the observer of all services.
    """

    def __init__(self, operation: Operation) -> None:
        self.counter = RequestCounter()
        self._registry = CollectorRegistry()
        self._registry.register(ServiceCollector(self.counter, operation))
        ProcessCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics, and their content type.

        :param accept: the value of the header ``Accept``, which selects between the
            text format of Prometheus and that of OpenMetrics.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class MetricsResource(AdminResource):
    """``/metrics``: the metrics, for Prometheus."""

    is_public = True

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def variant(self, request: AdminRequest) -> str:
        """See `AdminResource.variant`: the content type."""
        _encode, content_type = choose_encoder(request.header("Accept") or "")
        return content_type

    def respond(self, request: AdminRequest) -> AdminResponse:
        """See `AdminResource.respond`."""
        body, content_type = self._metrics.render(request.header("Accept") or "")
        return AdminResponse(body, content_type)

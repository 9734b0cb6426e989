"""What the server counts about itself, for Prometheus.

One registry per server, none global. Labels are commands, outcomes, routes and the like: their
values are few and never come from a client, and no user, room or card is among them.
"""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from persistence.journal import CommittedBatch

_COMMIT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_REQUEST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_BATCH_UNITS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


class _Read(Collector):
    """One figure that somebody keeps already, read when it is asked for."""

    def __init__(
        self,
        family: type[CounterMetricFamily] | type[GaugeMetricFamily],
        name: str,
        documentation: str,
        value: Callable[[], float],
    ) -> None:
        self._family = family
        self._name = name
        self._documentation = documentation
        self._value = value

    def collect(self) -> Iterator[Metric]:
        """Give the figure."""
        yield self._family(self._name, self._documentation, value=self._value())


class _Stages(Collector):
    """Where a command's time goes: a sum and a count for each stage, kept as plain numbers.

    A histogram's `observe` takes longer than some of these stages' own part of a command.
    """

    def __init__(self) -> None:
        self.sums_s = {"decide": 0.0, "wait": 0.0, "commit": 0.0, "tell": 0.0}
        self.counts = dict.fromkeys(self.sums_s, 0)

    def add(self, stage: str, units: int, seconds: float) -> None:
        """Count `units` that spent so many seconds together."""
        self.sums_s[stage] += seconds
        self.counts[stage] += units

    def collect(self) -> Iterator[Metric]:
        """Give all stages."""
        family = SummaryMetricFamily(
            "cardroom_stage_seconds",
            "Of commit units: deciding, waiting for a commit, committing, telling everybody.",
            labels=("stage",),
        )
        for stage, sum_s in self.sums_s.items():
            family.add_metric((stage,), count_value=self.counts[stage], sum_value=sum_s)
        yield family


class Metrics:
    """Counters, gauges and histograms with one method for each thing that happens.

    Attributes:
        registry: where they are registered; more collectors may be.
    """

    CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._outcomes: dict[tuple[str, str], Counter] = {}
        self._commands = Counter(
            "cardroom_commands",
            "Commands by type and outcome (ok, or the error code).",
            ("type", "outcome"),
            registry=self.registry,
        )
        self._command_s = Histogram(
            "cardroom_command_seconds",
            "From a decoded command to its reply.",
            buckets=_COMMIT_S,
            registry=self.registry,
        )
        self._commit_units = Histogram(
            "cardroom_commit_batch_units",
            "Commit units of one transaction.",
            buckets=_BATCH_UNITS,
            registry=self.registry,
        )
        self._commit_s = Histogram(
            "cardroom_commit_seconds",
            "Duration of one committing transaction.",
            buckets=_COMMIT_S,
            registry=self.registry,
        )
        self._stages = _Stages()
        self.registry.register(self._stages)
        self._restarts = Counter(
            "cardroom_restarts",
            "Restarts by supervision, by kind of what was restarted.",
            ("kind",),
            registry=self.registry,
        )
        self._requests = Counter(
            "cardroom_http_requests",
            "HTTP requests by method, route and status.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._request_s = Histogram(
            "cardroom_http_request_seconds",
            "From a request's head to its response.",
            buckets=_REQUEST_S,
            registry=self.registry,
        )
        self._pushes = Counter(
            "cardroom_push",
            "Push notifications by what became of them (sent, retried, dead, skipped).",
            ("outcome",),
            registry=self.registry,
        )
        self._connection_failures = Counter(
            "cardroom_http_connection_failures",
            "HTTP connections that ended by an error inside the server.",
            registry=self.registry,
        )

    def command(self, kind: str, outcome: str, seconds: float) -> None:
        """Count a command: `kind` is its wire type, `outcome` is ``ok`` or its error code."""
        counter = self._outcomes.get((kind, outcome))
        if counter is None:
            # The library's own look-up costs more than counting does.
            counter = self._outcomes[kind, outcome] = self._commands.labels(kind, outcome)
        counter.inc()
        self._command_s.observe(seconds)

    def decided(self, seconds: float) -> None:
        """Count a commit unit that took so long to decide, its rows included."""
        self._stages.add("decide", 1, seconds)

    def committed(self, batch: CommittedBatch) -> None:
        """Count a transaction that committed."""
        units, commit_s = batch.units, batch.commit_s
        self._commit_units.observe(units)
        self._commit_s.observe(commit_s)
        add = self._stages.add
        add("wait", units, batch.waited_s)
        add("commit", units, units * commit_s)
        add("tell", units, batch.told_s)

    def restarted(self, kind: str) -> None:
        """Count a restart of a ``room``, of ``http`` or of another kind of thing."""
        self._restarts.labels(kind).inc()

    def push(self, outcome: str) -> None:
        """Count a push notification that was ``sent``, ``retried``, ``dead`` or ``skipped``."""
        self._pushes.labels(outcome).inc()

    def http_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; `route` is its pattern, never its path."""
        self._requests.labels(method, route, str(status)).inc()
        self._request_s.observe(seconds)

    def http_connection_failed(self) -> None:
        """Count an HTTP connection that ended by an error inside the server."""
        self._connection_failures.inc()

    def gauge(self, name: str, documentation: str, value: Callable[[], float]) -> None:
        """Have `value` read at each scrape: something that goes up and down."""
        self.registry.register(_Read(GaugeMetricFamily, name, documentation, value))

    def counter(self, name: str, documentation: str, value: Callable[[], float]) -> None:
        """Have `value` read at each scrape: a total that only grows."""
        self.registry.register(_Read(CounterMetricFamily, name, documentation, value))

    def exposition(self) -> bytes:
        """Write everything in Prometheus' text format, whose type is `CONTENT_TYPE`."""
        return generate_latest(self.registry)

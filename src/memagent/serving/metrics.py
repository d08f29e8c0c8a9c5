"""Counters for Prometheus. It does not know requests; others count here."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from memagent.reading import Reading
from memagent.serving.admission import Admission

_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)


class Metrics:
    """One registry a server."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, admission: Admission) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "memagent_requests", "Requests by route and status", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "memagent_request_seconds", "Seconds to the end of a request", ["route"], buckets=_SECONDS,
            registry=self._registry,
        )  # fmt: skip
        self._tokens = Counter("memagent_tokens", "Tokens of all model calls", ["kind"], registry=self._registry)
        self._readings = Counter("memagent_readings", "Readings by how they ended", ["status"], registry=self._registry)
        self._chunks = Counter("memagent_chunks", "Chunks of documents", ["outcome"], registry=self._registry)
        running = Gauge("memagent_running", "Requests that a model works on", registry=self._registry)
        waiting = Gauge("memagent_waiting", "Requests in the queue", registry=self._registry)
        running.set_function(lambda: admission.running)
        waiting.set_function(lambda: admission.waiting)

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request has ended."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def tokens(self, prompt: int, completion: int) -> None:
        """Tokens of calls that belong to no reading."""
        self._tokens.labels("prompt").inc(prompt)
        self._tokens.labels("completion").inc(completion)

    def reading(self, reading: Reading) -> None:
        """A reading has ended."""
        self.tokens(reading.usage.prompt_tokens, reading.usage.completion_tokens)
        self._readings.labels(reading.status).inc()
        self._chunks.labels("read").inc(reading.coverage.read)
        self._chunks.labels("failed").inc(reading.coverage.failed)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self._registry)

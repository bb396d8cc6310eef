"""Prometheus metrics: what each stream captured, stored and lost, queues, latencies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Histogram, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.schemas import StreamOut

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30)


@dataclass(frozen=True, slots=True)
class Watched:
    """What is read at each scrape."""

    streams: Callable[[], Iterable[StreamOut]]
    queues: Callable[[], Mapping[str, int]]
    webhooks: Callable[[], Mapping[str, int]]


class Metrics:
    """One registry per service, so that two in a process do not mix."""

    def __init__(self, watched: Watched) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(watched))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._requests = Histogram(
            "hindsight_http_request_seconds",
            "Time to answer, by route.",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._answers = Histogram(
            "hindsight_answer_seconds",
            "Time per step of an answer.",
            ("step",),
            buckets=_BUCKETS,
            registry=self._registry,
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, str(status)).observe(seconds)

    def answer(self, timings_ms: Mapping[str, float]) -> None:
        for step, milliseconds in timings_ms.items():
            self._answers.labels(step).observe(milliseconds / 1000)

    def page(self) -> bytes:
        return generate_latest(self._registry)


class _Collector(Collector):
    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        streams = list(self._watched.streams())
        yield from _counted(streams)
        yield from _states(streams)
        yield from _loads(streams)
        queues = GaugeMetricFamily("hindsight_queue_depth", "Records waiting.", labels=["queue"])
        for name, depth in self._watched.queues().items():
            queues.add_metric([name], depth)
        yield queues
        webhooks = CounterMetricFamily("hindsight_webhooks", "Webhook calls.", labels=["result"])
        for result, count in self._watched.webhooks().items():
            webhooks.add_metric([result], count)
        yield webhooks


def _counted(streams: Iterable[StreamOut]) -> Iterable[Metric]:
    captured = CounterMetricFamily("hindsight_frames_captured", "Frames sampled.", labels=["stream"])
    stored = CounterMetricFamily("hindsight_frames_stored", "Frames remembered.", labels=["stream"])
    repeated = CounterMetricFamily("hindsight_frames_repeated", "Frames remembered already.", labels=["stream"])
    dropped = CounterMetricFamily("hindsight_frames_dropped", "Frames lost, by reason.", labels=["stream", "reason"])
    parked = CounterMetricFamily("hindsight_frames_parked", "Frames set aside.", labels=["stream", "reason"])
    flying = GaugeMetricFamily("hindsight_frames_in_flight", "Frames on their way.", labels=["stream"])
    for stream in streams:
        counters = stream.counters
        captured.add_metric([stream.name], counters.captured)
        stored.add_metric([stream.name], counters.stored)
        repeated.add_metric([stream.name], counters.repeated)
        flying.add_metric([stream.name], counters.in_flight)
        for reason, count in counters.dropped.items():
            dropped.add_metric([stream.name, reason], count)
        for reason, count in counters.parked.items():
            parked.add_metric([stream.name, reason], count)
    return captured, stored, repeated, dropped, parked, flying


def _loads(streams: Iterable[StreamOut]) -> Iterable[Metric]:
    skipped = CounterMetricFamily(
        "hindsight_pictures_skipped", "Pictures not decoded because of overload.", labels=["stream"]
    )
    shedding = GaugeMetricFamily("hindsight_stream_shedding", "1 for what is given up.", labels=["stream", "what"])
    resting = GaugeMetricFamily("hindsight_stream_resting", "1 while only key frames are decoded.", labels=["stream"])
    failures = CounterMetricFamily(
        "hindsight_capture_failures", "Times that capturing failed unforeseen and began anew.", labels=["stream"]
    )
    anew = CounterMetricFamily(
        "hindsight_stream_reconnects", "Attempts to connect to the camera anew.", labels=["stream"]
    )
    for stream in streams:
        anew.add_metric([stream.name], stream.reconnects)
        failures.add_metric([stream.name], stream.failures)
        skipped.add_metric([stream.name], stream.pictures_skipped)
        shedding.add_metric([stream.name, stream.shedding], 1)
        resting.add_metric([stream.name], stream.resting)
    return failures, anew, skipped, shedding, resting


def _states(streams: Iterable[StreamOut]) -> Iterable[Metric]:
    states = GaugeMetricFamily("hindsight_stream_state", "1 for the present state.", labels=["stream", "state"])
    ages = GaugeMetricFamily("hindsight_stream_last_frame_age_seconds", "Age of the newest frame.", labels=["stream"])
    lags = GaugeMetricFamily("hindsight_listening_lag_seconds", "Sound not yet listened to.", labels=["stream"])
    lost = CounterMetricFamily("hindsight_sound_unheard_seconds", "Sound lost, by reason.", labels=["stream", "reason"])
    for stream in streams:
        for reason, seconds in stream.counters.unheard_s.items():
            lost.add_metric([stream.name, reason], seconds)
        states.add_metric([stream.name, stream.state], 1)
        if stream.last_frame_age_s is not None:
            ages.add_metric([stream.name], stream.last_frame_age_s)
        if stream.listening_lag_s is not None:
            lags.add_metric([stream.name], stream.listening_lag_s)
    return states, ages, lags, lost

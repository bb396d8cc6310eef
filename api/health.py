"""Health that has really done the work: every check uses its part, none only asks whether it exists."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Final

from api.profile import Models
from api.schemas import CheckOut, HealthOut, StreamOut
from api.settings import Settings
from api.workers import Workers
from ingest.clock import synchronised
from ingest.errors import HindsightError
from ingest.load import Shedding
from ingest.questions import Query, Scope
from memory.memory import Memory

RESERVE = 256 * 1024 * 1024
"""Bytes that must be free on the data folder's disk."""
BLIND = ("stalled", "offline", "failed", "frozen", "dark")
"""States in which a stream should see, and does not."""
_GIVEN_UP: Final[Mapping[Shedding, str]] = {"rate": "at the lower rate", "pictures": "key frames only"}


class Health:
    """Quick checks for a monitor, and the deep examination of the doctor."""

    def __init__(
        self,
        memory: Memory,
        models: Models,
        workers: Workers,
        streams: Callable[[], Iterable[StreamOut]],
        untold: Callable[[], str],
        settings: Settings,
    ) -> None:
        self._memory = memory
        self._models = models
        self._workers = workers
        self._all = streams
        self._untold = untold
        self._settings = settings

    def examine(self) -> HealthOut:
        checks = [
            check("query", self._encode),
            *(check(name, work) for name, work in self._models.checks.items()),
            check("store", self._store),
            check("recall", self._recall),
            check("stages", self._stages),
            self._streams(),
            check("listening", self._listening),
            check("webhooks", self._webhooks),
            check("disk", self._disk),
            *([_clock(kept)] if (kept := synchronised()) is not None else []),
            *([check("recordings", self._recordings)] if self._memory.recordings.elsewhere else []),
        ]
        return HealthOut(
            ok=all(check.ok for check in checks),
            checks=checks,
            version=version("hindsight"),
            profile=self._settings.profile,
        )

    def doctor(self, *, repair: bool) -> list[CheckOut]:
        """The deep examination: files, checksums and index against the database."""
        return [CheckOut(name=f.name, ok=f.ok, detail=f.detail) for f in self._memory.examine(repair=repair)]

    def _query(self) -> Query:
        [query] = self._models.encoder.encode_queries(["something moves"])
        return query

    def _encode(self) -> str:
        square = float((self._query().vector ** 2).sum())
        if not 0 < square < float("inf"):
            raise HindsightError("A query was encoded as nothing.", advice="Restart the service; its log says why.")
        return "A query was encoded."

    def _store(self) -> str:
        nonce = secrets.token_hex(8)
        self._memory.store.facts.set(health=nonce)
        if self._memory.store.facts.get("health") != nonce:
            raise HindsightError("A row that was written could not be read.", advice="Run `hindsight doctor`.")
        return "A row was written and read."

    def _recall(self) -> str:
        hits = self._memory.recall.find(self._query(), Scope(), threshold=0.0, limit=1)
        return f"The index was searched: {len(hits) or 'nothing'} found."

    def _stages(self) -> str:
        threads = self._workers.threads
        dead = [name for name, thread in threads.items() if not thread.is_alive()]
        if dead:
            raise HindsightError(f"Stopped: {', '.join(dead)}.", advice="Restart the service; its log says why.")
        if waiting := dict(self._workers.waiting):
            raise HindsightError(" ".join(f"{name} waits: {why}" for name, why in waiting.items()))
        return f"{len(threads)} are at work."

    def _streams(self) -> CheckOut:
        """A camera that is blind is told here and no fault of the service: restarting it would not help."""
        streams = list(self._all())
        blind = [f"{one.name} ({one.state})" for one in streams if one.state in BLIND]
        told = f"Blind: {', '.join(blind)}." if blind else "None is blind."
        shed = [f"{one.name} ({_GIVEN_UP[one.shedding]})" for one in streams if one.shedding != "nothing"]
        told += f" More comes than can be looked at: {', '.join(shed)}." if shed else ""
        aside = [f"{one.name} ({sum(one.counters.parked.values())})" for one in streams if one.counters.parked]
        told += f" Pictures that could not be made sense of, the log says why: {', '.join(aside)}." if aside else ""
        return CheckOut(name="streams", ok=True, detail=told, worth_a_look=bool(blind or shed))

    def _listening(self) -> str:
        """Being behind is told and no fault: what is heard late is found late, and the queue is bounded."""
        streams = list(self._all())
        behind = max((one.listening_lag_s or 0.0 for one in streams), default=0.0)
        lost = sum(sum(one.counters.unheard_s.values()) for one in streams)
        return f"{behind:.0f} s behind at most." + (f" {lost:.0f} s of sound were lost." if lost else "")

    def _webhooks(self) -> str:
        outbox = self._memory.store.outbox.state()
        told = f"{outbox.waiting} wait to be delivered"
        told += f", {outbox.given_up} were given up. {outbox.error}" if outbox.given_up else "."
        return f"{told} {self._untold()}".rstrip()

    def _recordings(self) -> str:
        state = self._memory.recordings.state()
        told = f"Waiting to be sent: {state.waiting}; to be removed: {state.removing}."
        if state.trouble:
            raise HindsightError(f"{state.trouble} {told}")
        return told

    def _disk(self) -> str:
        free = shutil.disk_usage(self._settings.folder).free
        if free < RESERVE:
            raise HindsightError(f"Only {free / 1e6:.0f} MB are free.", advice="Free some space, or keep less.")
        return f"{free / 1e9:.1f} GB are free."


def _clock(kept: bool) -> CheckOut:
    """A clock that nobody keeps right is told and no fault: it may be right all the same."""
    told = "Nothing keeps this machine's clock right, and pictures have its times: set up NTP."
    told = "This machine's clock is kept right." if kept else told
    return CheckOut(name="clock", ok=True, detail=told, worth_a_look=not kept)


def check(name: str, work: Callable[[], str]) -> CheckOut:
    try:
        return CheckOut(name=name, ok=True, detail=work())
    except HindsightError as error:
        return CheckOut(name=name, ok=False, detail=str(error))

"""A service that serves the real page over a rendered film, with answers of known content, also hostile ones.

It holds the page to the schemas of the HTTP border: every body is one of `api.schemas`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles

from api import schemas as s
from api.security import Border, Guarded
from ingest.clips import cut, still
from ingest.records import MICROSECONDS, Moment, Segment, Span, StreamId, seconds
from ingest.scene import TrueEvent, Truth
from memory.store.timeline import without

WEB = Path(__file__).parents[2] / "api" / "web"
ORIGIN = Moment(1_773_510_120_000_000)
HOSTILE = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'
STREAM = "s1"
CUT: dict[Path, Span] = {}
"""Clips by their path, and pictures by film and moment: cut once for all tests."""
STILLS: dict[tuple[Path, Moment], bytes] = {}
LABELS = {"thing": "something", "event": "enters", "read": "text", "heard": "speech", "scene": "dark"}


def iso(moment: int) -> datetime:
    return datetime.fromtimestamp(moment / MICROSECONDS, UTC)


def interval(span: Span) -> str:
    return f"{iso(span.start).isoformat()}/{iso(span.end).isoformat()}"


def moment(text: str) -> Moment:
    return Moment(round(datetime.fromisoformat(text).timestamp() * MICROSECONDS))


def clock(offset: int) -> str:
    whole = offset // MICROSECONDS
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


def shown(start: int, end: int) -> s.SpanOut:
    """A span given in microseconds since the film's first picture."""
    return s.SpanOut(
        start=iso(ORIGIN + start), end=iso(ORIGIN + end), start_offset_s=start / 1e6, end_offset_s=end / 1e6,
        label=f"{clock(start)}–{clock(end)}",
    )  # fmt: skip


USUAL = {"sampling": "motion", "audio": True, "record": True, "keep_recordings_hours": 72, "recordings_budget_mb": 0}


@dataclass
class World:
    """What the stand-in serves; tests change it."""

    film: Path
    truth: Truth
    folder: Path
    streams: dict[str, str] = field(default_factory=lambda: {STREAM: "street"})
    rules: dict[str, s.RuleOut] = field(default_factory=dict)
    alerts: list[s.AlertOut] = field(default_factory=list)
    uploads: dict[str, dict[str, Any]] = field(default_factory=dict)
    hostile: bool = False
    blind: tuple[str, ...] = ()
    words: int | None = None
    """So many of an answer come, and no more until nobody waits for them."""
    recorded: bool = True
    known_to: int = 0
    """How far is known that the camera shows nothing, in the same way."""
    remembered: int | None = None
    """Nothing later is, microseconds since the film's first picture."""
    erased: Span | None = None
    """Microseconds since the film's first picture."""
    asked: int = 0
    """How often the camera's newest picture was asked for."""
    requests: list[tuple[str, Any]] = field(default_factory=list)

    def live(self) -> s.StreamOut:
        """A camera whose newest picture is ever later in the film."""
        end = min(seconds(2) + self.asked * seconds(2), self.truth.duration)
        span = s.SpanOut(start=iso(ORIGIN), end=iso(ORIGIN + end), label="Sat 17:42")
        return s.StreamOut(
            id="cam", name="door-cam", kind="live", source="rtsp://me:***@camera/1", state="live", added=iso(ORIGIN),
            known_to=iso(ORIGIN + max(end, self.known_to)),
            span=span, last_frame_age_s=0.4, keep_recordings_hours=48, in_force=s.Handling(**USUAL),
        )  # fmt: skip

    def stream(self, identity: str) -> s.StreamOut:
        if identity == "cam":
            return self.live()
        return s.StreamOut(
            id=identity, name=HOSTILE[:79] if self.hostile else self.streams[identity], kind="file",
            source="/home/me/street.mp4", state="finished", detail=HOSTILE if self.hostile else "", added=iso(ORIGIN),
            span=shown(0, self.truth.duration), progress=1.0,
        )  # fmt: skip

    def event(self, text: str) -> TrueEvent:
        return next(event for event in self.truth.events if event.text == text)

    def observations(self) -> list[s.ObservationOut]:
        return [
            s.ObservationOut(
                kind=event.kind, label=LABELS[event.kind], description=HOSTILE if self.hostile else event.text,
                span=shown(span.start, span.end), score=0.9, colour=event.colour, text="",
            )
            for event in self.truth.events
            for span in event.spans
        ]  # fmt: skip

    def hit(self, span: Span, score: float) -> dict[str, Any]:
        peak = Moment((span.start + span.end) // 2)
        at = iso(ORIGIN + peak).isoformat().replace("+00:00", "Z")
        around = [iso(ORIGIN + edge).isoformat().replace("+00:00", "Z") for edge in (span.start, span.end)]
        return {
            "stream": STREAM, "stream_name": self.streams.get(STREAM, "street"), "span": shown(span.start, span.end),
            "score": score, "peak": iso(ORIGIN + peak), "thumbnail_url": f"/v1/streams/{STREAM}/thumbnail?at={at}",
            "clip_url": f"/v1/streams/{STREAM}/clip?from={around[0]}&to={around[1]}",
        }  # fmt: skip

    def gap(self) -> s.GapOut:
        end = self.truth.duration
        span = shown(end - seconds(3), end)
        return s.GapOut(stream="street", span=span, reason="offline", detail=HOSTILE if self.hostile else "unplugged")

    def unheard(self) -> s.GapOut:
        span = shown(seconds(2), seconds(8))
        return s.GapOut(stream="street", span=span, reason="unheard", detail="More sounded than could be listened to.")

    def fire(self, rule: s.RuleOut, text: str = "a red car") -> s.AlertOut:
        span = self.event(text).spans[0]
        hit = self.hit(span, 0.88)
        alert = s.AlertOut(
            id=f"{rule.id}/{STREAM}/{span.start}/{len(self.alerts)}", rule=rule.id, rule_name=rule.name, stream=STREAM,
            stream_name=hit["stream_name"], span=hit["span"], open=False, score=0.88,
            why=HOSTILE if self.hostile else f"{text} was seen (88 % sure).", thumbnail_url=hit["thumbnail_url"],
            clip_url=hit["clip_url"],
        )  # fmt: skip
        self.alerts.append(alert)
        return alert


def problem(status: int, detail: str, advice: str) -> JSONResponse:
    body = s.Problem(type="urn:hindsight:stand-in", title="Problem", status=status, detail=detail, advice=advice)
    return JSONResponse(body.model_dump(), status_code=status, media_type="application/problem+json")


def create(world: World) -> Any:
    """The ASGI application: the real page behind the real security headers."""
    app = FastAPI()
    for add in (_page, _streams, _footage, _uploads, _questions, _rules, _house):
        add(app, world)
    return Guarded(app, Border())


def _page(app: FastAPI, world: World) -> None:
    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    app.mount("/static", StaticFiles(directory=WEB / "static"))


def _streams(app: FastAPI, world: World) -> None:
    @app.get("/v1/streams")
    def streams() -> list[s.StreamOut]:
        return [world.stream(identity) for identity in world.streams]

    @app.post("/v1/streams", status_code=201, response_model=None)
    def add(request: s.StreamIn) -> s.StreamOut | JSONResponse:
        world.requests.append(("add", request))
        if "missing" in request.source:
            return problem(404, f'There is no file "{request.source}".', "Check the path.")
        world.streams[f"s{len(world.streams) + 1}"] = request.name
        return world.stream(f"s{len(world.streams)}")

    @app.patch("/v1/streams/{stream}")
    def change(stream: str, request: s.StreamPatch) -> s.StreamOut:
        world.requests.append(("change", request.model_dump(exclude_unset=True)))
        return world.stream(stream)

    @app.get("/v1/streams/{stream}/coverage")
    def coverage(request: Request) -> s.TimelineOut:
        at = moment(request.query_params["from"]) - ORIGIN
        blind = at >= world.truth.duration - seconds(3)
        covered, gaps = ([], [world.gap()]) if blind else ([shown(at, at)], [])
        return s.TimelineOut(
            stream="street", span=shown(at, at), covered=covered, gaps=gaps, observations=[], alerts=[]
        )

    @app.get("/v1/streams/{stream}/timeline")
    def timeline(stream: str) -> s.TimelineOut:
        whole = shown(0, world.truth.duration)
        covered = shown(0, world.truth.duration - seconds(3))
        return s.TimelineOut(
            stream=stream, span=whole, covered=[covered], gaps=[world.gap(), world.unheard()],
            observations=world.observations(), alerts=world.alerts,
        )  # fmt: skip


def _footage(app: FastAPI, world: World) -> None:
    whole = Span(ORIGIN, Moment(ORIGIN + world.truth.duration))
    segment = Segment(StreamId(STREAM), 0, whole, str(world.film), world.film.stat().st_size, owned=False)

    @app.get("/v1/streams/{stream}/clip", response_model=None)
    def clip(stream: str, request: Request) -> FileResponse | JSONResponse:
        if not world.recorded:
            return problem(404, "There is no recording then.", "Look at its coverage.")
        wanted = Span(moment(request.query_params["from"]), moment(request.query_params["to"]))
        gone = [Span(Moment(ORIGIN + world.erased.start), Moment(ORIGIN + world.erased.end))] if world.erased else []
        path = world.folder / f"{wanted.start}-{wanted.end}-{len(gone)}.mp4"
        if path not in CUT:
            CUT[path] = cut([segment], without(wanted, gone), path, exact=bool(gone))
        headers = {"Hindsight-Span": interval(CUT[path])}
        if gone:
            headers["Hindsight-Gaps"] = f'{interval(gone[0])};reason="erased"'
        return FileResponse(path, media_type="video/mp4", headers=headers)

    @app.get("/v1/streams/{stream}/thumbnail")
    @app.get("/v1/streams/{stream}/frame")
    def picture(stream: str, at: str) -> Response:
        when = min(moment(at), Moment(whole.end - 100_000)) if at != "now" else Moment(whole.end - 100_000)
        if world.remembered is not None:
            when = Moment(min(when, ORIGIN + world.remembered))
        if stream == "cam" and at == "now":
            world.asked += 1
            when = Moment(min(ORIGIN + world.asked * seconds(2), whole.end - 100_000))
        if (world.film, when) not in STILLS:
            STILLS[world.film, when] = still([segment], when, max_side=320).jpeg
        headers = {"Hindsight-Moment": iso(when).isoformat()}
        return Response(STILLS[world.film, when], media_type="image/jpeg", headers=headers)


def _uploads(app: FastAPI, world: World) -> None:
    @app.post("/v1/uploads", status_code=201)
    def begin(request: s.UploadIn) -> s.UploadOut:
        world.uploads["u1"] = {
            "filename": request.filename,
            "size": request.size,
            "bytes": b"",
            "failures": 1,
            "texts": {},
        }
        return s.UploadOut(id="u1", filename=request.filename, size=request.size, received=0)

    def state(upload: str) -> s.UploadOut:
        held = world.uploads[upload]
        return s.UploadOut(id=upload, filename=held["filename"], size=held["size"], received=len(held["bytes"]))

    @app.get("/v1/uploads/{upload}")
    def look(upload: str) -> s.UploadOut:
        return state(upload)

    @app.put("/v1/uploads/{upload}", response_model=None)
    async def receive(upload: str, offset: int, request: Request) -> s.UploadOut | JSONResponse:
        held = world.uploads[upload]
        body = await request.body()
        if held["failures"] and offset:
            held["failures"] -= 1
            return problem(503, "Busy.", "Try again.")
        assert offset == len(held["bytes"])
        held["bytes"] += body
        return state(upload)

    @app.put("/v1/uploads/{upload}/subtitles", response_model=None)
    async def beside(upload: str, filename: str, request: Request) -> s.UploadOut | JSONResponse:
        body = await request.body()
        if b"-->" not in body:
            return problem(400, "There is no line with times in it.", "Send SubRip or WebVTT.")
        world.uploads[upload]["texts"][filename] = body
        return state(upload)

    @app.post("/v1/uploads/{upload}/complete", status_code=201)
    def complete(upload: str, request: s.UploadComplete) -> s.StreamOut:
        world.streams[f"s{len(world.streams) + 1}"] = request.name
        return world.stream(f"s{len(world.streams)}")


def _questions(app: FastAPI, world: World) -> None:
    @app.post("/v1/ask")
    def ask(request: s.AskIn) -> StreamingResponse:
        world.requests.append(("ask", request))
        return StreamingResponse(_answer(world, request), media_type="text/event-stream")

    @app.post("/v1/find")
    def find(request: s.FindIn) -> s.FindOut:
        world.requests.append(("find", request))
        known = [event for event in world.truth.events if event.text == request.event]
        spans = [span for event in known for span in event.spans]
        searched = s.SearchedOut(streams=["street"], span=shown(0, world.truth.duration))
        unknown = [] if known else request.event.split()[-1:]
        hits = [s.HitOut(**world.hit(span, 0.9 - 0.1 * n)) for n, span in enumerate(spans)]
        return s.FindOut(
            event=request.event, hits=hits, searched=searched, gaps=[world.gap()], understood=["red"], unknown=unknown
        )

    @app.get("/v1/summary")
    def summary() -> s.SummaryOut:
        whole = shown(0, world.truth.duration)
        hits = [s.HitOut(**world.hit(world.event("a red car").spans[0], 0.9))]
        return s.SummaryOut(text="A red car passed.", span=whole, streams=["street"], highlights=hits, gaps=[])


async def _answer(world: World, request: s.AskIn) -> AsyncIterator[str]:
    def event(name: str, body: str) -> str:
        return f"event: {name}\ndata: {body}\n\n"

    if request.question == "fail":
        yield event(
            "problem",
            s.Problem(type="x", title="x", status=503, detail="It broke.", advice="Ask again.").model_dump_json(),
        )
        return
    span = world.event("a red car").spans[0]
    text = f"{HOSTILE} [1] [7]" if world.hostile else "A red car drives to the right [1]. It leaves soon after [1]."
    for number, piece in enumerate(text.split(" ")):
        while number == world.words:
            await asyncio.sleep(0.05)
        yield event("token", json.dumps({"text": piece + " "}))
    citation = s.CitationOut(number=1, **world.hit(span, 0.93), observations=world.observations()[:1])
    answer = s.AnswerOut(
        question=request.question, text=text, found=True, citations=[citation], gaps=[world.gap()], unknown=["zebra"],
        searched=s.SearchedOut(streams=["street"], span=shown(0, world.truth.duration)), model="extractive",
        profile="embedded", timings_ms={"recall": 12.0},
    )  # fmt: skip
    yield event("answer", answer.model_dump_json())


def _rules(app: FastAPI, world: World) -> None:
    @app.get("/v1/rules")
    def rules() -> list[s.RuleOut]:
        return list(world.rules.values())

    @app.post("/v1/rules", status_code=201)
    def add(request: s.RuleIn) -> s.RuleOut:
        identity = f"r{len(world.rules) + 1}"
        fields = {name: getattr(request, name) for name in type(request).model_fields}
        world.rules[identity] = s.RuleOut(id=identity, understood=["red"], unknown=[], **fields)
        return world.rules[identity]

    @app.post("/v1/rules/test")
    def attempt(request: s.RuleTestIn) -> list[s.AlertOut]:
        fields = {name: getattr(request.rule, name) for name in type(request.rule).model_fields}
        alert = world.fire(s.RuleOut(id="tried", understood=[], unknown=[], **fields))
        world.alerts.remove(alert)
        return [alert]

    @app.patch("/v1/rules/{rule}")
    async def change(rule: str, request: Request) -> s.RuleOut:
        world.rules[rule] = world.rules[rule].model_copy(update=await request.json())
        return world.rules[rule]

    @app.delete("/v1/rules/{rule}", status_code=204)
    def remove(rule: str) -> None:
        del world.rules[rule]

    @app.get("/v1/alerts")
    def alerts() -> list[s.AlertOut]:
        return world.alerts[::-1]

    @app.get("/v1/alerts/events")
    async def follow(request: Request) -> StreamingResponse:
        async def changes() -> AsyncIterator[str]:
            told = len(world.alerts)
            while not await request.is_disconnected():
                for number, alert in enumerate(world.alerts[told:], told):
                    yield f"id: {number}\nevent: alert\ndata: {alert.model_dump_json()}\n\n"
                told = len(world.alerts)
                yield ": here\n\n"
                await asyncio.sleep(0.05)

        return StreamingResponse(changes(), media_type="text/event-stream")


def _house(app: FastAPI, world: World) -> None:
    @app.post("/v1/erase")
    def erase(request: s.EraseIn) -> s.EraseOut:
        world.requests.append(("erase", request))
        if request.start is None:
            del world.streams[request.stream]
        return s.EraseOut(stream="street", span=None, removed={"features": 300, "clips": 2}, verified_gone=["features"])

    @app.get("/v1/health")
    def health() -> s.HealthOut:
        checks = [s.CheckOut(name="store", ok=True, detail="written and read 2 s ago")]
        blind = f"Blind: {', '.join(world.blind)}." if world.blind else "None is blind."
        checks.append(s.CheckOut(name="streams", ok=True, detail=blind, worth_a_look=bool(world.blind)))
        return s.HealthOut(ok=True, checks=checks, version="0.1.0", profile="embedded")

"""What crosses the HTTP border, both ways. Times are ISO 8601 UTC; offsets are seconds into a file stream.

Requests take times as people write them ("yesterday 14:00", "last hour", "00:12:31" for files); `api/times.py` reads
them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from ingest import languages
from ingest.load import Shedding
from ingest.reasons import GapReason
from ingest.records import ObservationKind, StreamKind, StreamState

DAY_S = 86_400.0
CENTURY_H = 876_600.0


def _said(text: str) -> str:
    """Raises ValueError unless something can be read in it."""
    if not any(character.isalnum() for character in text):
        raise ValueError("there is no word in it")
    return text


Words = Annotated[str, AfterValidator(_said)]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Problem(BaseModel):
    """An error, as RFC 9457 problem+json. `detail` says what happened, `advice` what to do about it."""

    type: str = Field(examples=["urn:hindsight:not-found"])
    title: str
    status: int
    detail: str
    advice: str = ""


# --- time ------------------------------------------------------------------------------------------------------


class SpanOut(Model):
    start: datetime
    end: datetime
    start_offset_s: float | None = Field(None, description="Seconds into the file, for file streams.")
    end_offset_s: float | None = None
    label: str = Field(description="For people.", examples=["00:12:31–00:12:40", "Mon 14:02:10–14:02:15"])


class GapOut(Model):
    stream: str
    span: SpanOut
    reason: GapReason
    detail: str = ""


# --- streams ---------------------------------------------------------------------------------------------------


class Handling(Model):
    """How a stream is handled in ways of its own. What is absent, or null, is as the service's setting of that name
    says."""

    sampling: str | None = Field(
        None,
        max_length=40,
        description="Which pictures are looked at: motion, adaptive, scene, rate or keys, and how many a second.",
        examples=["adaptive", "motion:0.5-4", "rate:1"],
    )
    audio: bool | None = Field(None, description="Whether its sound is listened to, and recorded with its pictures.")
    language: Annotated[str, Field(pattern="^[a-z]{2,3}$"), AfterValidator(languages.language)] | None = Field(
        None, description="Which is spoken.", examples=["de", "deu"]
    )
    record: bool | None = Field(None, description="Whether it is recorded.")
    keep_recordings_hours: float | None = Field(None, gt=0, le=CENTURY_H, description="How long recordings are kept.")
    keep_events_hours: float | None = Field(
        None, ge=0, le=CENTURY_H, description="How long at least, where something came, went or changed."
    )
    keep_alerts_hours: float | None = Field(None, ge=0, le=CENTURY_H, description="How long at least, around an alert.")
    recordings_budget_mb: int | None = Field(
        None, ge=0, le=1_000_000_000, description="Most disk for recordings, whatever their age; 0 is without bound."
    )

    @property
    def handling(self) -> dict[str, Any]:
        """What was said of it, null included; an empty policy is none."""
        said = {name: getattr(self, name) for name in Handling.model_fields if name in self.model_fields_set}
        return {name: None if value == "" else value for name, value in said.items()}


class StreamIn(Handling):
    """What to add, and how to look at it."""

    name: str = Field(min_length=1, max_length=80, examples=["door-cam"])
    source: str = Field(max_length=4096, examples=["rtsp://user:secret@192.168.1.20/stream1", "/home/me/holiday.mp4"])
    starts_at: str | None = Field(None, description="When a file was filmed; its own creation time if absent.")
    username: str | None = Field(None, max_length=200, description="In place of the one in the source.")
    password: SecretStr | None = Field(None, max_length=200, description="In place of the one in the source.")


class StreamPatch(Handling):
    """What to change of a stream; what is absent stays, and null is as the service has it. A running one goes on with
    it at once, and is opened anew for another source, login or sampling alone."""

    name: str | None = Field(None, min_length=1, max_length=80)
    source: str | None = Field(
        None,
        max_length=4096,
        description="Where the same camera is to be found now. Its login stays where scheme, host and port do.",
    )
    username: str | None = Field(None, max_length=200)
    password: SecretStr | None = Field(None, max_length=200, description="Never shown again.")
    starts_at: str | None = Field(None, description="Refused, but for what it is: what is remembered does not move.")


class Counters(Model):
    """Frames since the stream was added: captured = stored + repeated + sum(dropped) + sum(parked) + in_flight.
    `repeated` came a second time, after a restart, and were remembered already."""

    captured: int = 0
    stored: int = 0
    repeated: int = 0
    dropped: dict[str, int] = {}
    parked: dict[str, int] = {}
    in_flight: int = 0
    unheard_s: dict[str, float] = Field({}, description="Seconds of sound that nobody listened to, by reason.")


class StreamOut(Handling):
    """A stream as it is now."""

    id: str
    name: str
    kind: StreamKind
    source: str = Field(description="Credentials are masked.")
    state: StreamState
    detail: str = Field("", description="Why it is in this state, in words.")
    added: datetime
    span: SpanOut | None = Field(None, description="From the first remembered moment to the last.")
    known_to: datetime | None = Field(
        None, description="Up to when it is known what was watched and what was not: the end of its timeline."
    )
    progress: float | None = Field(None, description="0..1 of a file read so far.")
    last_frame_age_s: float | None = Field(None, description="Age of the newest frame of a live stream.")
    listening_lag_s: float | None = Field(
        None, description="How far listening is behind a live stream; at rest 10 to 20 s, as sound is heard in pieces."
    )
    counters: Counters = Field(default_factory=Counters)
    in_force: Handling = Field(
        default_factory=Handling, description="What of its own and of the service's is in force."
    )
    resting: bool = Field(False, description="Nothing moves, so only key frames are decoded.")
    shedding: Shedding = Field(
        "nothing", description="What is given up because the machine cannot keep up: the higher rate, or pictures."
    )
    pictures_skipped: int = Field(0, description="Pictures not decoded for that reason since it was started.")
    reconnects: int = Field(
        0, description="Attempts to connect to it anew since it was started: a camera that comes and goes."
    )
    failures: int = Field(0, description="How often capturing failed unforeseen, and began anew, since it was started.")


class CameraOut(Model):
    """A camera that answered on this network."""

    address: str = Field(examples=["http://192.168.1.20/onvif/device_service"])
    name: str
    hardware: str


class CameraIn(Model):
    """A camera whose streams are asked for."""

    address: str = Field(min_length=1, max_length=4096, examples=["192.168.1.20"])
    username: str = Field("", max_length=200)
    password: SecretStr = Field(SecretStr(""), max_length=200)


class CameraStreamOut(Model):
    name: str
    source: str = Field(description="What to add, with the login given apart from it.")
    codec: str
    width: int
    height: int
    fps: float


class UploadIn(Model):
    filename: str = Field(min_length=1, max_length=255)
    size: int = Field(gt=0, description="Bytes in the whole file.")
    mark: str = Field("", max_length=128, description="By what its sender knows the file again; shown as it was given.")


class UploadOut(Model):
    id: str
    filename: str
    size: int
    received: int
    mark: str = Field("", description="By what its sender knows the file again.")
    subtitles: list[str] = Field(
        [], description="Subtitle files that were sent with it.", examples=[["holiday.de.srt"]]
    )


class UploadComplete(Handling):
    name: str = Field(min_length=1, max_length=80)
    starts_at: str | None = None


# --- the timeline ----------------------------------------------------------------------------------------------


class ObservationOut(Model):
    kind: ObservationKind
    label: str
    description: str = Field(description="One line for people.", examples=["something red enters from the left"])
    span: SpanOut
    score: float
    colour: str = ""
    text: str = ""
    language: str = Field("", description="Of what was heard or stands in subtitles; ISO 639.", examples=["en"])


class TimelineOut(Model):
    """Everything about one stream between two moments, for drawing it."""

    stream: str
    span: SpanOut
    covered: list[SpanOut] = Field(description="Of very many stretches, those with the least between them are one.")
    gaps: list[GapOut]
    more_gaps: int = Field(0, description="Gaps beside these, which are the longest.")
    observations: list[ObservationOut]
    alerts: list[AlertOut]
    truncated: bool = Field(False, description="More exists than was returned: ask for a shorter span.")


# --- asking and finding ----------------------------------------------------------------------------------------


class Where(Model):
    streams: list[str] = Field([], description="Names or ids; all when empty.")
    start: str | None = Field(None, alias="from", examples=["yesterday 14:00", "last hour", "00:12:31"])
    end: str | None = Field(None, alias="to")


class AskIn(Where):
    question: Words = Field(min_length=1, max_length=2000, examples=["Did a red car pass this morning?"])


class FindIn(Where):
    event: Words = Field(min_length=1, max_length=500, examples=["a red car"])
    threshold: float | None = Field(None, ge=0, le=1, description="Least probability; the profile's own if absent.")
    limit: int = Field(20, ge=1, le=200)


class HitOut(Model):
    """A stretch of footage, playable."""

    stream: str
    stream_name: str
    span: SpanOut
    score: float = Field(description="Calibrated probability, 0..1.")
    peak: datetime
    thumbnail_url: str
    clip_url: str | None = Field(description="Null when the recording has expired: memory outlives footage.")
    observations: list[ObservationOut] = []


class CitationOut(HitOut):
    number: int


class SearchedOut(Model):
    streams: list[str]
    span: SpanOut | None


class FindOut(Model):
    event: str
    hits: list[HitOut]
    searched: SearchedOut
    gaps: list[GapOut]
    more_gaps: int = Field(0, description="Gaps beside these, which are the longest.")
    understood: list[str]
    unknown: list[str] = Field(description="Words that this profile cannot look for.")
    unsure: list[str] = Field([], description="Words that it can only guess at.")
    note: str = Field("", description="What a person should know about this result.")


class AnswerOut(Model):
    """What was found, where was looked, and when nothing could be seen there."""

    question: str
    text: str
    found: bool = Field(description="False when nothing in the footage passed the threshold.")
    citations: list[CitationOut]
    citations_removed: int = Field(0, description="Citations the model invented, removed from the text.")
    sentences_removed: int = Field(0, description="Sentences about the footage that cited nothing, removed.")
    searched: SearchedOut
    gaps: list[GapOut]
    more_gaps: int = Field(0, description="Gaps beside these, which are the longest.")
    unknown: list[str]
    model: str
    profile: str
    timings_ms: dict[str, float]


class SummaryOut(Model):
    text: str
    span: SpanOut | None
    streams: list[str]
    highlights: list[HitOut]
    gaps: list[GapOut]
    more_gaps: int = Field(0, description="Gaps beside these, which are the longest.")


# --- rules and alerts ------------------------------------------------------------------------------------------


class ScheduleModel(Model):
    days: list[int] = Field([1, 2, 3, 4, 5, 6, 7], description="ISO weekdays, 1 is Monday.")
    start: str = Field(default="00:00", pattern=r"^\d\d:\d\d$")
    end: str = Field(default="24:00", pattern=r"^\d\d:\d\d$", description="Before `start` means over midnight.")
    timezone: str = "UTC"


class RuleIn(Model):
    name: str = Field(min_length=1, max_length=80, examples=["red-car"])
    text: Words = Field(min_length=1, max_length=500, examples=["a red car enters"])
    streams: list[str] = []
    threshold: float = Field(0.6, ge=0, le=1)
    release: float = Field(0.4, ge=0, le=1)
    hold_s: float = Field(0, ge=0, le=DAY_S)
    cooldown_s: float = Field(60, ge=0, le=7 * DAY_S)
    schedule: ScheduleModel = Field(default_factory=ScheduleModel)
    webhook: str = Field("", max_length=4096, repr=False, description="Shown without what is behind its host.")
    enabled: bool = True


class RuleOut(RuleIn):
    id: str
    understood: list[str]
    unknown: list[str]
    unsure: list[str] = []


class RulePatch(Model):
    """What to change of a rule; what is absent stays."""

    name: str | None = Field(None, min_length=1, max_length=80)
    text: Words | None = Field(None, min_length=1, max_length=500)
    streams: list[str] | None = None
    threshold: float | None = Field(None, ge=0, le=1)
    release: float | None = Field(None, ge=0, le=1)
    hold_s: float | None = Field(None, ge=0, le=DAY_S)
    cooldown_s: float | None = Field(None, ge=0, le=7 * DAY_S)
    schedule: ScheduleModel | None = None
    webhook: str | None = Field(None, max_length=4096, repr=False, description="As it is shown: it stays.")
    enabled: bool | None = None


class RuleTestIn(Where):
    """Try a rule on past footage before arming it."""

    rule: RuleIn


class AlertOut(Model):
    id: str
    rule: str
    rule_name: str
    stream: str
    stream_name: str
    span: SpanOut
    open: bool = Field(description="Still going on.")
    score: float
    why: str
    thumbnail_url: str
    clip_url: str | None


# --- keeping house ---------------------------------------------------------------------------------------------


class EraseIn(Model):
    stream: str
    start: str | None = Field(None, alias="from", description="The whole stream when neither is given.")
    end: str | None = Field(None, alias="to")
    force: bool = Field(False, description="Also what is held as evidence.")


class HoldIn(Model):
    """What to hold as evidence, and why."""

    stream: str
    start: str | None = Field(None, alias="from", description="The whole stream, and what is to come, without times.")
    end: str | None = Field(None, alias="to")
    reason: str = Field(min_length=1, max_length=500, examples=["Case 4711"])


class HoldOut(Model):
    """Held until it is released: neither age nor budget takes it, and erasing it is refused."""

    id: int
    stream: str
    stream_name: str
    span: SpanOut | None = Field(description="Null: the whole stream, and what is to come.")
    reason: str
    placed: datetime


class EraseOut(Model):
    """What was removed, and what was looked for afterwards and not found."""

    stream: str
    span: SpanOut | None
    removed: dict[str, int]
    verified_gone: list[str]
    note: str = Field("", description="What goes a little later.")


class BudgetOut(Model):
    """What a stream's memory and its recordings take of the disk, and what either may take."""

    stream: str
    used_bytes: int
    limit_bytes: int | None
    recordings_bytes: int
    recordings_limit_bytes: int | None
    detail: dict[str, int] = Field({}, description="Bytes by kind.")
    reach: dict[str, datetime] = Field({}, description="How far back each level of detail reaches.")


class CheckOut(Model):
    """`worth_a_look`: the service is well, and something that it depends on is not, such as a camera."""

    name: str
    ok: bool
    detail: str
    worth_a_look: bool = False


class HealthOut(Model):
    """`ok` only when every part has really done its work within the last seconds."""

    ok: bool
    checks: list[CheckOut]
    version: str
    profile: str


TimelineOut.model_rebuild()

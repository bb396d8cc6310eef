"""The tables. Times are microseconds UTC in 64-bit integers; vectors are little-endian blobs."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()
_IDENTITY = BigInteger().with_variant(Integer, "sqlite")


def _stream(*, primary_key: bool = False) -> Column[str]:
    return Column(
        "stream", String, ForeignKey("streams.id", ondelete="CASCADE"), primary_key=primary_key, nullable=False
    )


def _span() -> tuple[Column[int], Column[int]]:
    return Column("start", BigInteger, nullable=False), Column("end", BigInteger, nullable=False)


facts = Table(
    "facts",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", Text, nullable=False),
)

streams = Table(
    "streams",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("kind", String, nullable=False),
    Column("source", Text, nullable=False),
    Column("masked", Text, nullable=False),
    Column("state", String, nullable=False),
    Column("state_at", BigInteger, nullable=False),
    Column("detail", Text, nullable=False),
    Column("added", BigInteger, nullable=False),
    Column("origin", BigInteger),
    Column("duration_us", BigInteger),
    Column("paused", Boolean, nullable=False),
    Column("login", Text, nullable=False, server_default=""),
    Column("counters", Text, nullable=False, server_default=""),
    Column("frames", BigInteger, nullable=False),
    Column("settings", Text, nullable=False, server_default=""),
)

marks = Table(
    "marks",
    metadata,
    _stream(primary_key=True),
    Column("origin", String, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("pts", BigInteger, nullable=False),
    Column("moment", BigInteger, nullable=False),
)

coverage = Table(
    "coverage",
    metadata,
    _stream(primary_key=True),
    Column("epoch", Integer, primary_key=True),
    *_span(),
)

gaps = Table(
    "gaps",
    metadata,
    _stream(primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("end", BigInteger, nullable=False),
    Column("reason", String, nullable=False),
    Column("detail", Text, nullable=False),
)

unheard = Table(
    "unheard",
    metadata,
    _stream(primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("end", BigInteger, nullable=False),
    Column("detail", Text, nullable=False),
)
"""Gaps of what was heard: apart from those of what was seen, which they may lie across."""

segments = Table(
    "segments",
    metadata,
    Column("key", String, primary_key=True),
    _stream(),
    Column("epoch", Integer, nullable=False),
    *_span(),
    Column("path", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("first_pts", BigInteger, nullable=False),
    Column("owned", Boolean, nullable=False),
    Column("number", BigInteger),
    Column("breaks", BigInteger, nullable=False, server_default="0"),
    Index("segments_by_time", "stream", "start"),
)

last_segments = Table(
    "last_segments",
    metadata,
    _stream(primary_key=True),
    Column("epoch", Integer, nullable=False),
    *_span(),
    Column("number", BigInteger, nullable=False),
    Column("breaks", BigInteger, nullable=False),
)
"""The newest that was ever recorded of a stream: numbers go on from it, also when it is long gone."""

features = Table(
    "features",
    metadata,
    Column("id", _IDENTITY, primary_key=True, autoincrement=True),
    _stream(),
    Column("origin", String, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("pts", BigInteger, nullable=False),
    *_span(),
    Column("vector", LargeBinary, nullable=False),
    Column("thumbnail", LargeBinary, nullable=False),
    UniqueConstraint("stream", "origin", "epoch", "pts", name="features_once"),
    Index("features_by_time", "stream", "start"),
)
"""The open chapter of every stream: what no chapter file holds yet."""

BRIEF_CHAPTER = (
    *("stream", "start", "end", "level", "id", "revision", "frames", "slots"),
    *("path", "sha256", "fine_bytes", "thumbnail_bytes"),
)
"""All of a chapter but its slots: read from the index alone, for in the table the slots lie between."""

chapters = Table(
    "chapters",
    metadata,
    Column("id", String, primary_key=True),
    _stream(),
    Column("level", String, nullable=False),
    *_span(),
    Column("revision", Integer, nullable=False),
    Column("frames", BigInteger, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("vectors", LargeBinary, nullable=False),
    Column("times", LargeBinary, nullable=False),
    Column("path", Text, nullable=False),
    Column("sha256", String, nullable=False),
    Column("fine_bytes", BigInteger, nullable=False),
    Column("thumbnail_bytes", BigInteger, nullable=False),
    Index("chapters_by_time", *BRIEF_CHAPTER),
)
"""Sealed chapters and the hours and days they folded into: of every frame there is one."""

observations = Table(
    "observations",
    metadata,
    Column("key", String, primary_key=True),
    _stream(),
    Column("epoch", Integer, nullable=False),
    Column("kind", String, nullable=False),
    Column("track", String, nullable=False),
    Column("label", Text, nullable=False),
    *_span(),
    Column("score", Float, nullable=False),
    Column("colour", String, nullable=False),
    Column("actions", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("box", Text, nullable=False),
    Index("observations_by_time", "stream", "start"),
)

removals = Table(
    "removals",
    metadata,
    Column("name", Text, primary_key=True),
)
"""Recordings that are forgotten and still to be removed from the store of blobs."""

holds = Table(
    "holds",
    metadata,
    Column("id", _IDENTITY, primary_key=True, autoincrement=True),
    _stream(),
    *_span(),
    Column("reason", Text, nullable=False),
    Column("placed", BigInteger, nullable=False),
    Index("holds_by_stream", "stream", "start"),
)
"""What must not go, whatever its age and whatever the budget, until a person releases it."""

erasures = Table(
    "erasures",
    metadata,
    Column("id", _IDENTITY, primary_key=True, autoincrement=True),
    Column("stream", String, nullable=False),
    Column("start", BigInteger),
    Column("end", BigInteger),
    Column("asked", BigInteger, nullable=False),
    Column("done", Boolean, nullable=False),
    Index("erasures_by_stream", "stream"),
)
"""What was asked to be forgotten: finished after an interruption, and kept so that nothing late brings it back."""

rules = Table(
    "rules",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("body", Text, nullable=False),
)

progress = Table(
    "progress",
    metadata,
    Column("rule", String, ForeignKey("rules.id", ondelete="CASCADE"), primary_key=True),
    _stream(primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("pts", BigInteger, nullable=False),
    Column("moment", BigInteger, nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    Column("key", String, primary_key=True),
    Column("sequence", BigInteger, nullable=False, unique=True),
    Column("rule", String, nullable=False),
    _stream(),
    *_span(),
    Column("score", Float, nullable=False),
    Column("peak", BigInteger, nullable=False),
    Column("why", Text, nullable=False),
    Index("alerts_by_time", "stream", "start"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", _IDENTITY, primary_key=True, autoincrement=True),
    Column("alert_key", String, ForeignKey("alerts.key", ondelete="CASCADE"), nullable=False, unique=True),
    Column("attempts", Integer, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("delivered", Boolean, nullable=False),
    Column("error", Text, nullable=False),
    Index("outbox_by_due", "delivered", "due"),
)

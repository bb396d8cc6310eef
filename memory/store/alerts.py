"""Rules, the alerts they raised, and the outbox that delivers them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from ingest.errors import Conflict, NotFound
from ingest.questions import Rule, Schedule, Scope
from ingest.records import Alert, Mark, Moment, Span, StreamId
from memory.store import schema
from memory.store.database import Database
from memory.store.rows import OutboxItem, OutboxState
from memory.store.timeline import EVERYWHERE, within

MOST_WAITING = 10_000
"""Deliveries that wait at most: beyond it the oldest is given up."""
_NEVER = 2**63 - 1
"""When what was given up is due."""


class Rules:
    """Standing questions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, rule: Rule) -> None:
        """Add a rule or replace the one with its id. Raises `Conflict` when another has its name."""
        table = schema.rules
        row = {"id": rule.id, "name": rule.name, "body": json.dumps(dataclasses.asdict(rule))}
        with self._database.write() as connection:
            taken = connection.scalar(select(table.c.id).where(table.c.name == rule.name, table.c.id != rule.id))
            if taken is not None:
                raise Conflict(f"There is already a rule called {rule.name!r}.", advice="Choose another name.")
            self._database.upsert(connection, table, [row], update=("name", "body"))

    def all(self) -> list[Rule]:
        with self._database.read() as connection:
            wanted = select(schema.rules.c.body).order_by(schema.rules.c.name)
            return [_rule(body) for body in connection.scalars(wanted)]

    def get(self, id_or_name: str) -> Rule:
        """Raises `NotFound`. An id wins over a name."""
        table = schema.rules
        wanted = select(table.c.body).where((table.c.id == id_or_name) | (table.c.name == id_or_name))
        with self._database.read() as connection:
            rules = [_rule(body) for body in connection.scalars(wanted)]
        if not rules:
            raise NotFound(f"There is no rule {id_or_name!r}.", advice="`hindsight rule list` shows them.")
        return next((rule for rule in rules if rule.id == id_or_name), rules[0])

    def delete(self, rule: str) -> None:
        """Remove a rule by id; the alerts it raised stay."""
        with self._database.write() as connection:
            if not connection.execute(delete(schema.rules).where(schema.rules.c.id == rule)).rowcount:
                raise NotFound(f"There is no rule {rule!r}.", advice="`hindsight rule list` shows them.")


class Alerts:
    """Alerts with the order in which they changed, and how far each rule has judged each stream."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, alert: Alert, *, told: bool = False, due: int = 0) -> bool:
        """Write an alert, replacing an earlier version. True when it is new.

        A new alert that is to be `told` enters the outbox in the same transaction.
        """
        table = schema.alerts
        with self._database.write() as connection:
            new = connection.scalar(select(table.c.key).where(table.c.key == alert.key)) is None
            row = {**_flat(alert), "sequence": self._next(connection)}
            self._database.upsert(connection, table, [row], update=("sequence", "end", "score", "peak", "why"))
            if new and told:
                item = {"alert_key": alert.key, "attempts": 0, "due": due}
                connection.execute(schema.outbox.insert().values(**item, delivered=False, error=""))
                _make_room(connection)
        return new

    def list(self, *, scope: Scope = EVERYWHERE, rule: str = "", limit: int = 100) -> list[Alert]:
        """Newest first."""
        table = schema.alerts
        wanted = select(table).where(*within(table, scope)).order_by(table.c.start.desc(), table.c.key).limit(limit)
        if rule:
            wanted = wanted.where(table.c.rule == rule)
        with self._database.read() as connection:
            return [_alert(row) for row in connection.execute(wanted)]

    def get(self, key: str) -> Alert:
        with self._database.read() as connection:
            row = connection.execute(select(schema.alerts).where(schema.alerts.c.key == key)).one_or_none()
        if row is None:
            raise NotFound(f"There is no alert {key!r}.", advice="`hindsight alerts` lists them.")
        return _alert(row)

    def since(self, sequence: int, limit: int = 100) -> Sequence[tuple[int, Alert]]:
        """Alerts that are new or changed after `sequence`, in order of change."""
        table = schema.alerts
        wanted = select(table).where(table.c.sequence > sequence).order_by(table.c.sequence).limit(limit)
        with self._database.read() as connection:
            return [(row.sequence, _alert(row)) for row in connection.execute(wanted)]

    def watermark(self, rule: str, stream: StreamId) -> Mark | None:
        """How far `rule` has looked along `stream`."""
        table = schema.progress
        wanted = select(table).where(table.c.rule == rule, table.c.stream == stream)
        with self._database.read() as connection:
            row = connection.execute(wanted).one_or_none()
        return Mark(row.epoch, row.pts, Moment(row.moment)) if row else None

    def save_progress(self, rule: str, stream: StreamId, mark: Mark) -> None:
        row = {"rule": rule, "stream": stream, "epoch": mark.epoch, "pts": mark.pts, "moment": mark.moment}
        with self._database.write() as connection:
            try:
                self._database.upsert(connection, schema.progress, [row], update=("epoch", "pts", "moment"))
            except IntegrityError as error:
                raise NotFound(f"Rule {rule!r} or stream {stream!r} is gone.", advice="Stop watching it.") from error

    def _next(self, connection: Connection) -> int:
        """A number never used before, also after the newest alert was erased."""
        table = schema.facts
        last = int(connection.scalar(select(table.c.value).where(table.c.name == "alerts")) or 0)
        highest = int(connection.scalar(select(func.max(schema.alerts.c.sequence))) or 0)
        number = max(last, highest) + 1
        self._database.upsert(connection, table, [{"name": "alerts", "value": str(number)}], update=("value",))
        return number


class Outbox:
    """Webhooks still to be delivered; a row stays until it says delivered or given up, and then to be looked at."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, now: Moment, limit: int = 20) -> list[OutboxItem]:
        table = schema.outbox
        wanted = (
            select(table)
            .where(table.c.delivered.is_(False), table.c.due <= now)
            .order_by(table.c.due, table.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [OutboxItem(row.id, row.alert_key, row.attempts) for row in connection.execute(wanted)]

    def delivered(self, item: int) -> None:
        with self._database.write() as connection:
            connection.execute(update(schema.outbox).where(schema.outbox.c.id == item).values(delivered=True, error=""))

    def failed(self, item: int, error: str, retry_at: Moment) -> None:
        table = schema.outbox
        with self._database.write() as connection:
            again = {"attempts": table.c.attempts + 1, "error": error, "due": retry_at}
            connection.execute(update(table).where(table.c.id == item).values(again))

    def give_up(self, item: int, error: str) -> None:
        """Try no more; the row stays, with its reason."""
        self.failed(item, error, Moment(_NEVER))

    def state(self) -> OutboxState:
        table = schema.outbox
        given_up = table.c.due == _NEVER
        with self._database.read() as connection:
            waiting = connection.scalar(select(func.count()).select_from(table).where(*_waiting()))
            gone = connection.scalar(select(func.count()).select_from(table).where(given_up))
            last = select(table.c.error).where(given_up).order_by(table.c.id.desc()).limit(1)
            return OutboxState(int(waiting or 0), int(gone or 0), connection.scalar(last) or "")


def _waiting() -> tuple[ColumnElement[bool], ...]:
    return schema.outbox.c.delivered.is_(False), schema.outbox.c.due < _NEVER


def _make_room(connection: Connection) -> None:
    """Give up the oldest deliveries beyond `MOST_WAITING`."""
    table = schema.outbox
    extra = int(connection.scalar(select(func.count()).select_from(table).where(*_waiting())) or 0) - MOST_WAITING
    if extra > 0:
        oldest = select(table.c.id).where(*_waiting()).order_by(table.c.id).limit(extra)
        gone = {"due": _NEVER, "error": "Too many deliveries were waiting."}
        connection.execute(update(table).where(table.c.id.in_(oldest)).values(gone))


def _flat(alert: Alert) -> dict[str, Any]:
    row = {name: getattr(alert, name) for name in ("key", "rule", "stream", "score", "peak", "why")}
    return row | {"start": alert.span.start, "end": alert.span.end}


def _alert(row: Any) -> Alert:
    return Alert(row.rule, StreamId(row.stream), Span(row.start, row.end), row.score, Moment(row.peak), row.why)


def _rule(body: str) -> Rule:
    values = json.loads(body)
    schedule = values.pop("schedule")
    schedule["days"] = tuple(schedule["days"])
    values["streams"] = tuple(StreamId(stream) for stream in values["streams"])
    return Rule(**values, schedule=Schedule(**schedule))

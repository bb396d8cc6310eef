"""Rules: standing questions, kept, tried on the past, and watched from then on."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace

from pydantic import ValidationError

from api.schemas import AlertOut, RuleIn, RuleOut, RulePatch, RuleTestIn, ScheduleModel
from api.scope import Scopes
from api.streams import checked_name
from api.times import zone_named
from api.views import Views
from api.watch import Watch
from api.webhooks import Webhooks
from ingest.errors import Invalid, NotFound
from ingest.questions import Rule, Schedule
from ingest.records import MICROSECONDS, StreamId, seconds
from memory.store import Store
from models.protocols import FrameEncoder


class Rules:
    """Rules in the terms of the HTTP interface."""

    def __init__(
        self, store: Store, watch: Watch, encoder: FrameEncoder, scopes: Scopes, views: Views, webhooks: Webhooks
    ) -> None:
        self._store = store
        self._watch = watch
        self._encoder = encoder
        self._scopes = scopes
        self._views = views
        self._webhooks = webhooks

    def add(self, request: RuleIn) -> RuleOut:
        """Armed from now on; what is already remembered is what `test` is for."""
        rule = self._rule(f"r{secrets.token_hex(5)}", request)
        return self._keep(self._webhooks.kept(rule, request.webhook))

    def all(self) -> list[RuleOut]:
        return [self._shown(rule) for rule in self._store.rules.all()]

    def get(self, id_or_name: str) -> RuleOut:
        return self._shown(self._store.rules.get(id_or_name))

    def change(self, id_or_name: str, patch: RulePatch) -> RuleOut:
        rule = self._store.rules.get(id_or_name)
        merged = {**_as_request(rule), **patch.model_dump(exclude_unset=True)}
        try:
            request = RuleIn.model_validate(merged)
        except ValidationError as error:
            raise Invalid(error.errors()[0]["msg"], advice="Nothing was changed.") from error
        changed = self._rule(rule.id, request)
        if patch.webhook is None:
            return self._keep(replace(changed, webhook=rule.webhook, address=rule.address))
        if patch.webhook == rule.webhook:
            return self._keep(self._webhooks.same(changed, rule))
        return self._keep(self._webhooks.kept(changed, patch.webhook))

    def remove(self, id_or_name: str) -> None:
        self._store.rules.delete(self._store.rules.get(id_or_name).id)
        self._watch.reload()

    def test(self, request: RuleTestIn) -> list[AlertOut]:
        """The alerts the rule would have raised on past footage: the same code as live, nothing kept."""
        rule = self._rule("test", request.rule)
        where = request.model_copy(update={"streams": request.streams or request.rule.streams})
        alerts = self._watch.test(rule, self._scopes.resolve(where).scope)
        return [self._views.alert(alert, rule.name) for alert in alerts]

    def names(self) -> Mapping[str, str]:
        return {rule.id: rule.name for rule in self._store.rules.all()}

    def _keep(self, rule: Rule) -> RuleOut:
        self._store.rules.save(rule)
        self._watch.arm(rule)
        return self._shown(rule)

    def _rule(self, identity: str, request: RuleIn) -> Rule:
        if request.release > request.threshold:
            raise Invalid(
                f"The release ({request.release}) is above the threshold ({request.threshold}).",
                advice="A rule fires at its threshold and ends below its release: choose a lower release.",
            )
        return Rule(
            id=identity,
            name=checked_name(request.name),
            text=request.text,
            streams=tuple(self._store.streams.get(name).id for name in request.streams),
            threshold=request.threshold,
            release=request.release,
            hold_us=seconds(request.hold_s),
            cooldown_us=seconds(request.cooldown_s),
            schedule=read_schedule(request.schedule),
            enabled=request.enabled,
        )

    def _shown(self, rule: Rule) -> RuleOut:
        [query] = self._encoder.encode_queries([rule.text])
        names = {"streams": [self._name(stream) for stream in rule.streams]}
        return RuleOut.model_validate(
            {
                **_as_request(rule),
                **names,
                "id": rule.id,
                "understood": list(query.understood),
                "unknown": list(query.unknown),
                "unsure": list(query.unsure),
            }
        )

    def _name(self, stream: StreamId) -> str:
        try:
            return self._store.streams.get(stream).name
        except NotFound:
            return f"{stream} (removed)"


def read_schedule(model: ScheduleModel) -> Schedule:
    if not model.days or not set(model.days) <= set(range(1, 8)):
        raise Invalid("Days are numbers from 1 (Monday) to 7 (Sunday).", advice="Give at least one.")
    zone_named(model.timezone)
    start, end = _minutes(model.start), _minutes(model.end)
    return Schedule(tuple(sorted(set(model.days))), start % (24 * 60), end, model.timezone)


def _minutes(text: str) -> int:
    hours, minutes = (int(part) for part in text.split(":"))
    if minutes > 59 or hours * 60 + minutes > 24 * 60:
        raise Invalid(f'"{text}" is not a time of day.', advice="Write it like 08:30; 24:00 is the end of the day.")
    return hours * 60 + minutes


def _as_request(rule: Rule) -> dict[str, object]:
    schedule = rule.schedule
    return {
        "name": rule.name,
        "text": rule.text,
        "streams": list(rule.streams),
        "threshold": rule.threshold,
        "release": rule.release,
        "hold_s": rule.hold_us / MICROSECONDS,
        "cooldown_s": rule.cooldown_us / MICROSECONDS,
        "schedule": {
            "days": list(schedule.days),
            "start": _clock(schedule.start_minute),
            "end": _clock(schedule.end_minute),
            "timezone": schedule.timezone,
        },
        "webhook": rule.webhook,
        "enabled": rule.enabled,
    }


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"

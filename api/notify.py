"""Alerts leave through an outbox: what could not be delivered is tried again, for about three days.

A webhook gets the alert as JSON with a stable id, so that a receiver can ignore what it has: delivery is at least
once. With a secret set, `Hindsight-Signature: sha256=…` is the HMAC of the timestamp, a full stop and the body.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import random
from collections import Counter

from api.settings import Settings
from api.vault import CredentialsLost
from api.views import Views
from api.webhooks import Webhooks
from ingest.clock import Clock
from ingest.errors import Denied, HindsightError, NotFound
from ingest.guard import Guard
from ingest.records import MICROSECONDS, Alert, Moment, seconds
from memory.store import OutboxItem, Store

FIRST_RETRY_S = 5.0
LAST_RETRY_S = 3600.0
MOST_TRIES = 80
"""Ten in the first hour and a half, then one every hour: about three days in all. Then it is given up, for good."""
JITTER = 0.2


class Courier:
    """Delivers what is due in the outbox. `results` counts deliveries and failures."""

    def __init__(
        self, store: Store, guard: Guard, webhooks: Webhooks, views: Views, clock: Clock, settings: Settings
    ) -> None:
        self._store = store
        self._guard = guard
        self._webhooks = webhooks
        self._views = views
        self._clock = clock
        self._secret = settings.webhook_secret.get_secret_value()
        self.results: Counter[str] = Counter()

    def deliver_due(self) -> int:
        """Tries each due item once; how many were due."""
        due = self._store.outbox.due(self._clock.now(), 20)
        for item in due:
            self._deliver(item)
        return len(due)

    def _deliver(self, item: OutboxItem) -> None:
        try:
            alert = self._store.alerts.get(item.alert_key)
        except NotFound:  # erased before it could be sent
            self._store.outbox.delivered(item.id)
            return
        try:
            status = self._sent(item, alert)
        except CredentialsLost as error:  # they may be given again, or their key put back
            self._failed(item, f"{error} {error.advice}")
        except (Denied, NotFound) as error:
            self._give_up(item, str(error))
        except HindsightError as error:
            self._failed(item, str(error))
        else:
            if 200 <= status < 300:
                self._store.outbox.delivered(item.id)
                self.results["delivered"] += 1
            else:
                self._failed(item, f"The receiver answered {status}.")

    def _sent(self, item: OutboxItem, alert: Alert) -> int:
        """What the receiver answered."""
        url, login = self._webhooks.call(alert.rule)
        body = self._body(alert)
        return self._guard.request("POST", url, json=body, headers=login | self._headers(item, body)).status

    def _body(self, alert: Alert) -> dict[str, object]:
        try:
            name = self._store.rules.get(alert.rule).name
        except NotFound:
            name = alert.rule
        return {"type": "alert", **self._views.alert(alert, name).model_dump(mode="json")}

    def _headers(self, item: OutboxItem, body: dict[str, object]) -> dict[str, str]:
        headers = {"Idempotency-Key": item.alert_key, "Hindsight-Attempt": str(item.attempts + 1)}
        if self._secret:
            stamp = str(self._clock.now() // MICROSECONDS)
            headers |= {"Hindsight-Timestamp": stamp, "Hindsight-Signature": sign(self._secret, stamp, body)}
        return headers

    def _failed(self, item: OutboxItem, reason: str) -> None:
        self.results["failed"] += 1
        logging.getLogger("hindsight").warning("Webhook of %s not delivered: %s", item.alert_key, reason)
        if item.attempts + 1 >= MOST_TRIES:
            self._give_up(item, f"Given up after {MOST_TRIES} tries: {reason}")
        else:
            self._store.outbox.failed(item.id, reason, Moment(self._clock.now() + seconds(backoff_s(item.attempts))))

    def _give_up(self, item: OutboxItem, reason: str) -> None:
        """What policy refuses today it refuses tomorrow."""
        self.results["given up"] += 1
        self._store.outbox.give_up(item.id, reason)


def sign(secret: str, timestamp: str, body: dict[str, object]) -> str:
    """Over the very bytes that are sent: the guard writes JSON as `json.dumps` does."""
    message = timestamp.encode() + b"." + json.dumps(body).encode()
    return "sha256=" + hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def backoff_s(attempts: int) -> float:
    """5 s, 10 s, 20 s, … up to an hour, spread by a fifth so that receivers are not all called at once."""
    longest = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempts, 20))
    return longest * random.uniform(1 - JITTER, 1 + JITTER)

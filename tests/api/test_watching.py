"""Rules from end to end: fired live, tried on the past, told by webhook, caught up after a restart."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api import notify
from api.settings import Settings
from tests.api.conftest import FILMED, add, running, wait_for

RULE = {"name": "red", "text": "red", "threshold": 0.6, "release": 0.4, "cooldown_s": 0}
SLACK = 0.55


@dataclass
class Receiver:
    """A real web server that fails as often as it is told to."""

    url: str = ""
    failures: int = 0
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.calls.append(({name.lower(): value for name, value in self.headers.items()}, body))
            state.paths.append(self.path)
            state.failures -= 1
            self.send_response(500 if state.failures >= 0 else 204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its signature
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def starts(alerts: list[dict[str, Any]]) -> list[float]:
    return sorted(alert["span"]["start_offset_s"] for alert in alerts)


def test_alerts_live_and_tried_on_the_past_agree(http: httpx.Client, films: Path) -> None:
    rule = http.post("/v1/rules", json=RULE).json()
    assert (rule["understood"], rule["unknown"]) == (["red"], [])
    add(http, "door", films / "two.mp4")
    live = wait_for(lambda: (found := http.get("/v1/alerts").json()) and len(found) == 2 and found)
    assert all(abs(start - true) <= SLACK for start, true in zip(starts(live), (2, 8), strict=True))
    tried = http.post("/v1/rules/test", json={"rule": RULE}).json()
    assert starts(tried) == starts(live)
    for past, now in zip(tried, reversed(live), strict=True):  # the list is newest first
        assert abs(past["span"]["end_offset_s"] - now["span"]["end_offset_s"]) <= SLACK
    assert len(http.get("/v1/alerts").json()) == 2  # trying keeps nothing
    newest = live[0]
    assert newest["rule_name"] == "red"
    assert not newest["open"]
    assert "“red”" in newest["why"]
    assert "threshold 0.60" in newest["why"]
    assert http.get(newest["clip_url"]).headers["content-type"] == "video/mp4"
    assert http.get("/v1/alerts", params={"rule": "red", "stream": "door", "from": "00:06"}).json() == [newest]


def test_a_new_rule_watches_from_now_on(http: httpx.Client, films: Path) -> None:
    add(http, "door", films / "two.mp4")
    http.post("/v1/rules", json=RULE)
    assert http.get("/v1/alerts").json() == []
    add(http, "yard", films / "red.mp4")
    [alert] = wait_for(lambda: http.get("/v1/alerts").json())
    assert alert["stream_name"] == "yard"


def test_rules_are_kept_changed_and_removed(http: httpx.Client, films: Path) -> None:
    add(http, "door", films / "plain.mp4")
    rule = http.post("/v1/rules", json={**RULE, "streams": ["door"], "hold_s": 2.5}).json()
    assert (rule["streams"], rule["hold_s"]) == (["door"], 2.5)
    assert http.post("/v1/rules", json=RULE).status_code == 409
    schedule = {"days": [1, 5], "start": "22:00", "end": "06:00", "timezone": "Europe/Berlin"}
    changed = http.patch(f"/v1/rules/{rule['id']}", json={"threshold": 0.9, "schedule": schedule}).json()
    assert changed == {**rule, "threshold": 0.9, "schedule": schedule}
    assert http.patch("/v1/rules/red", json={"threshold": 0.1}).status_code == 400  # below the release
    assert http.get("/v1/rules").json() == [changed]
    assert http.delete("/v1/rules/red").status_code == 204
    assert http.get("/v1/rules").json() == []


def test_schedule_and_hold_count_in_the_film_s_own_time(http: httpx.Client, films: Path) -> None:
    add(http, "door", films / "two.mp4")  # filmed at 10:00 UTC, noon in Berlin
    for during, expected in ((("11:59", "12:01"), 2), (("09:59", "10:01"), 0)):
        schedule = {"start": during[0], "end": during[1], "timezone": "Europe/Berlin"}
        tried = http.post("/v1/rules/test", json={"rule": {**RULE, "schedule": schedule}}).json()
        assert len(tried) == expected
    assert http.post("/v1/rules/test", json={"rule": {**RULE, "hold_s": 4}}).json() == []
    assert len(http.post("/v1/rules/test", json={"rule": {**RULE, "cooldown_s": 30}}).json()) == 1


def test_the_feed_tells_alerts_as_they_happen(http: httpx.Client, films: Path) -> None:
    http.post("/v1/rules", json=RULE)
    told: list[dict[str, Any]] = []
    with http.stream("GET", "/v1/alerts/events", timeout=30) as feed:
        lines = feed.iter_lines()
        assert next(lines) == ": listening"
        add(http, "door", films / "red.mp4", wait=False)
        for line in lines:
            if line.startswith("data: "):
                told.append(json.loads(line[6:]))
                break
    assert told[0]["rule_name"] == "red"
    assert told[0]["stream_name"] == "door"


def test_a_webhook_is_tried_until_it_is_taken(settings: Settings, films: Path, receiver: Receiver) -> None:
    receiver.failures = 1
    secret = settings.model_copy(update={"webhook_secret": SecretStr("open sesame")})
    with running(secret) as (_, http):
        http.post("/v1/rules", json={**RULE, "webhook": receiver.url})
        add(http, "door", films / "red.mp4")
        wait_for(lambda: len(receiver.calls) == 2)
        [alert] = http.get("/v1/alerts").json()
        for attempt, (headers, body) in enumerate(receiver.calls, 1):
            told = json.loads(body)
            assert told["type"] == "alert"
            assert (told["id"], headers["idempotency-key"]) == (alert["id"], alert["id"])
            assert headers["hindsight-attempt"] == str(attempt)
            signed = headers["hindsight-timestamp"].encode() + b"." + body
            expected = hmac.new(b"open sesame", signed, hashlib.sha256).hexdigest()
            assert headers["hindsight-signature"] == f"sha256={expected}"
        assert 'hindsight_webhooks_total{result="failed"} 1.0' in http.get("/metrics").text
        wait_for(lambda: 'hindsight_webhooks_total{result="delivered"} 1.0' in http.get("/metrics").text)
    assert len(receiver.calls) == 2  # once taken, not told again


@pytest.mark.parametrize(
    ("url", "status", "said"),
    [
        ("http://169.254.169.254/latest/meta-data", 403, "may not be reached"),
        ("http://127.0.0.1:9/hook", 403, "may not be reached"),
        ("http://[::1]/hook", 403, "may not be reached"),
        ("ftp://example.org/hook", 400, "not a web address"),
        ("https://", 400, "not a web address"),
        ("http://example.org:99999/hook", 400, "Port"),
    ],
)
def test_a_webhook_that_will_be_refused_is_refused_at_once(
    settings: Settings, url: str, status: int, said: str
) -> None:
    with running(settings.model_copy(update={"networks": []})) as (_, http):
        answer = http.post("/v1/rules", json={**RULE, "webhook": url})
        assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text
        assert answer.json()["advice"]
        assert http.get("/v1/rules").json() == []
        http.post("/v1/rules", json=RULE)
        assert http.patch("/v1/rules/red", json={"webhook": url}).status_code == status
        [kept] = http.get("/v1/rules").json()
        assert kept["webhook"] == ""


def test_a_name_that_is_not_known_just_now_may_be_known_later(http: httpx.Client) -> None:
    answer = http.post("/v1/rules", json={**RULE, "webhook": "https://no-such-host.invalid/hook"})
    assert answer.status_code == 201


def test_a_webhook_is_checked_again_when_it_is_called(settings: Settings, films: Path, receiver: Receiver) -> None:
    with running(settings) as (_, http):
        http.post("/v1/rules", json={**RULE, "webhook": receiver.url})
    with running(settings.model_copy(update={"networks": []})) as (_, http):  # no longer granted
        add(http, "door", films / "red.mp4")
        wait_for(lambda: 'result="given up"' in http.get("/metrics").text)
    assert receiver.calls == []


def test_what_was_stored_unjudged_is_judged_after_a_restart(settings: Settings, films: Path) -> None:
    """As after a kill between remembering and watching: the rule's progress is behind the memory."""
    with running(settings) as (service, http):
        http.post("/v1/rules", json=RULE)
        add(http, "door", films / "two.mp4")
        wait_for(lambda: len(http.get("/v1/alerts").json()) == 2)
        whole = http.get("/v1/alerts").json()
        from sqlalchemy import text

        with service.store.database.write() as connection:
            connection.execute(text("delete from progress"))
            connection.execute(text("delete from alerts"))
    with running(settings) as (_, http):
        caught = http.get("/v1/alerts").json()
        assert starts(caught) == starts(whole)
        assert FILMED in {stream["span"]["start"] for stream in http.get("/v1/streams").json()}


def test_a_webhook_that_is_never_taken_is_given_up_and_told(
    settings: Settings, films: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "MOST_TRIES", 3)
    monkeypatch.setattr(notify, "FIRST_RETRY_S", 0.05)
    receiver.failures = 99
    with running(settings) as (_, http):
        http.post("/v1/rules", json={**RULE, "webhook": receiver.url})
        add(http, "door", films / "red.mp4")
        wait_for(lambda: 'hindsight_webhooks_total{result="given up"} 1.0' in http.get("/metrics").text)
        checks = {check["name"]: check["detail"] for check in http.get("/v1/health").json()["checks"]}
        assert "1 were given up. Given up after 3 tries: The receiver answered 500." in checks["webhooks"]
    assert len(receiver.calls) == 3


def test_three_days_of_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "JITTER", 0.0)
    waited = sum(notify.backoff_s(attempts) for attempts in range(notify.MOST_TRIES - 1))
    assert 2.5 < waited / 86_400 < 3.5

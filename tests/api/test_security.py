"""Who may call: hosts, origins, keys, sizes; and what settings refuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api import settings as settings_module
from api.settings import Settings
from ingest.errors import DeadlineExceeded, Invalid
from tests.api.conftest import running, wait_for

KEY = "correct horse battery staple"


@pytest.fixture
def locked(settings: Settings) -> Iterator[httpx.Client]:
    with running(settings.model_copy(update={"key": SecretStr(KEY), "allowed_hosts": ["cam.example"]})) as (_, client):
        yield client


def test_nothing_answers_without_the_key(locked: httpx.Client) -> None:
    for path in ("/", "/v1/streams", "/v1/health", "/metrics", "/v1/openapi.json", "/static/app.js"):
        answer = locked.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
        assert KEY not in answer.text
    for wrong in (f"Bearer {KEY}x", f"Basic {KEY}", "Bearer", KEY):
        assert locked.get("/v1/streams", headers={"Authorization": wrong}).status_code == 401
    assert locked.get("/v1/streams", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200


def test_the_page_trades_the_key_for_a_cookie(locked: httpx.Client) -> None:
    assert locked.get("/", params={"key": "wrong"}).status_code == 401
    answer = locked.get("/", params={"key": KEY})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert KEY not in cookie
    assert locked.get("/v1/streams").status_code == 200  # the client kept it
    locked.cookies.clear()
    assert locked.get("/v1/streams", headers={"Cookie": "hindsight=guess"}).status_code == 401


def test_under_the_strict_reading_whoever_may_call_reaches_no_private_address(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither as a camera nor as a webhook; no child is started for it. A grant is told to the child."""
    told: list[Mapping[str, Any]] = []

    def silent(_: str, details: Mapping[str, Any], *__: object) -> None:
        told.append(details.get("source", details))
        raise DeadlineExceeded("It says nothing.", advice="Wait.")

    monkeypatch.setattr("ingest.probe.Decoder", silent)
    monkeypatch.setattr("ingest.supervise.Decoder", silent)
    strict = settings.model_copy(update={"private": "granted", "networks": ["10.1.2.0/24"]})
    rule = {"name": "red", "text": "something red", "webhook": "http://10.9.9.9/hook"}
    with running(strict) as (_, http):
        refused = [
            http.post("/v1/streams", json={"name": "yard", "source": "rtsp://10.9.9.9/cam"}),
            http.post("/v1/streams", json={"name": "yard", "source": "http://[fd12::5]/live.m3u8"}),
            http.post("/v1/rules", json=rule),
        ]
        for answer in refused:
            assert answer.status_code == 403, answer.text
            assert "add its network to HINDSIGHT_NETWORKS" in answer.json()["advice"]
        assert (told, http.get("/v1/streams").json()) == ([], [])
        added = http.post("/v1/streams", json={"name": "door", "source": "rtsp://10.1.2.3/cam"})
        assert added.status_code == 201, added.text
        assert http.patch("/v1/streams/door", json={"source": "rtsp://10.9.9.9/cam"}).status_code == 403
        wait_for(lambda: len(told) > 1)  # looked at, and watched
    assert {one["location"] for one in told} == {"rtsp://10.1.2.3/cam"}
    assert all((one["networks"], one["private"]) == (["10.1.2.0/24"], "granted") for one in told)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8765", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("192.168.1.5:8765", 200),
        ("app.localhost", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("", 403),
    ],
)
def test_other_names_than_ours_are_refused(http: httpx.Client, host: str, status: int) -> None:
    """DNS rebinding: the browser sends the name that the attacker's page has."""
    assert http.get("/v1/streams", headers={"Host": host}).status_code == status


def test_allowed_hosts(locked: httpx.Client) -> None:
    authorised = {"Authorization": f"Bearer {KEY}"}
    assert locked.get("/v1/streams", headers={"Host": "CAM.example", **authorised}).status_code == 200
    assert locked.get("/v1/streams", headers={"Host": "bad.example", **authorised}).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 404),
        ({"Sec-Fetch-Site": "same-origin"}, 404),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_pages_of_other_sites_change_nothing(http: httpx.Client, headers: dict[str, str], status: int) -> None:
    assert http.post("/v1/streams/nobody/pause", headers=headers).status_code == status
    assert http.get("/v1/streams", headers=headers).status_code == 200


def test_bodies_are_bounded(http: httpx.Client) -> None:
    large = b'{"event": "' + b"x" * (17 * 1024 * 1024) + b'"}'
    json = {"Content-Type": "application/json"}
    assert http.post("/v1/find", content=large, headers=json).status_code == 413
    pieces = (large[at : at + 1_000_000] for at in range(0, len(large), 1_000_000))
    assert http.post("/v1/find", content=pieces, headers=json).status_code == 413


def test_browsers_are_told_to_be_strict(http: httpx.Client) -> None:
    for path in ("/v1/streams", "/v1/nowhere"):
        headers = http.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_the_network_wants_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "camera.example"):
        with pytest.raises(Invalid, match="without a key"):
            settings_module.load(host=host, data=tmp_path)
    monkeypatch.setenv("HINDSIGHT_KEY", KEY)
    assert settings_module.load(host="0.0.0.0").key.get_secret_value() == KEY
    assert KEY not in repr(settings_module.load())
    assert settings_module.load(host="127.0.0.2").host == "127.0.0.2"


def test_settings_come_from_the_environment_and_explain_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HINDSIGHT_PORT", "9000")
    assert settings_module.load().port == 9000
    assert settings_module.load(port=9001).port == 9001
    monkeypatch.setenv("HINDSIGHT_TIMEZONE", "Mars/Olympus")
    with pytest.raises(Invalid, match=r"HINDSIGHT_TIMEZONE.*Mars/Olympus"):
        settings_module.load()
    assert len(Settings.model_fields) <= 40
    assert all(knob.description for knob in Settings.model_fields.values())

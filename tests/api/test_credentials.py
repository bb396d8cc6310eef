"""Credentials: apart from the source, sealed on the disk, masked wherever they are shown, and lost without a crash."""

from __future__ import annotations

import base64
import json
import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from api import notify
from api.settings import Settings
from api.vault import CredentialsLost, Vault
from api.webhooks import shown
from ingest.errors import Invalid
from ingest.records import Moment, StreamId
from ingest.sources import SourceSpec, parse
from memory import migrations
from memory.store import Database, StreamRow
from tests.api.conftest import add, running, wait_for
from tests.api.test_service import Hindsight
from tests.api.test_watching import RULE, Receiver, receiver
from tests.ingest.conftest import RtspServer, rtsp
from tests.outside import runs, tree

__all__ = ["receiver", "rtsp"]

PASSWORD = "c4nary:/?#[]@!$&'()*+,;=%"


def test_what_is_sealed_is_opened_by_its_key_for_its_stream_alone(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "key")
    sealed = vault.seal("secret", "door")
    assert "secret" not in sealed
    assert Vault(tmp_path / "key").open(sealed, "door") == "secret"
    assert vault.seal("secret", "door") != sealed, "the same text is not the same twice"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    for broken, stream, other in [
        (sealed, "yard", vault),
        (sealed[:-8] + "AAAAAAA=", "door", vault),
        ("v1:nonsense", "door", vault),
        (sealed, "door", Vault(tmp_path / "another")),
    ]:
        with pytest.raises(CredentialsLost) as caught:
            other.open(broken, stream)
        assert caught.value.advice


def test_opening_makes_no_key(tmp_path: Path) -> None:
    """A new one could open nothing, and would hide that the old one is gone."""
    sealed = Vault(tmp_path / "key").seal("secret", "door")
    (tmp_path / "key").unlink()
    with pytest.raises(CredentialsLost, match="is gone"):
        Vault(tmp_path / "key").open(sealed, "door")
    assert not (tmp_path / "key").exists()


def test_nothing_sealed_needs_no_key(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "key")
    assert (vault.seal("", "door"), vault.open("", "door")) == ("", "")
    assert not (tmp_path / "key").exists()


def test_a_key_that_is_none_is_refused_with_how_to_make_one(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2")
    with pytest.raises(Invalid) as caught:
        Vault(tmp_path / "key").seal("secret", "door")
    assert "openssl" in caught.value.advice


def test_a_key_that_another_user_owns_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = Vault(tmp_path / "key").seal("secret", "door")
    monkeypatch.setattr(Path, "chmod", forbidden)
    assert Vault(tmp_path / "key").open(sealed, "door") == "secret"


def test_a_key_that_cannot_be_read_or_made_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = Vault(tmp_path / "key").seal("secret", "door")
    with pytest.raises(Invalid) as caught:
        Vault(tmp_path / "nowhere" / "key").seal("secret", "door")
    assert "HINDSIGHT_VAULT_KEY_FILE" in caught.value.advice
    monkeypatch.setattr(Path, "read_text", forbidden)
    with pytest.raises(Invalid):
        Vault(tmp_path / "key").open(sealed, "door")


def forbidden(*_: object) -> None:
    raise PermissionError(13, "Permission denied")


_TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=0x24F), min_size=1, max_size=30)


@hypothesis_settings(max_examples=200)
@given(_TEXT, _TEXT, st.sampled_from(["", "?token=abcdefgh&w=1", "?w=1"]), st.sampled_from(["", "#transport=udp"]))
def test_a_source_is_whole_again_and_its_bare_part_tells_nothing(user: str, word: str, query: str, how: str) -> None:
    word = "pw!" + word
    whole = parse(f"rtsp://{quote(user, safe='')}:{quote(word, safe='')}@cam.example:8554/a{query}{how}")
    assert word not in whole.bare
    assert quote(word, safe="") not in whole.bare
    assert "abcdefgh" not in whole.bare
    again = parse(whole.bare).with_secrets(whole.secrets())
    assert again == whole
    assert parse("rtsp://cam.example/a").secrets() == ""


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.usefixtures("patient")
def test_a_password_is_changed_while_watched_and_is_nowhere_in_the_clear(
    settings: Settings,
    rtsp: Callable[..., RtspServer],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A camera gets another password; the new one is given; nothing that is kept, said or logged has it."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr("api.streams.OPEN_S", 50.0)  # so that a slow machine does not cut short how it refuses
    camera = rtsp("--login", f"admin {PASSWORD}")
    settings = settings.model_copy(update={"record": False})
    with running(settings) as (service, http):
        wrong = camera.url("silent").replace("//", "//admin:c4nary-old@")
        assert http.post("/v1/streams", json={"name": "door", "source": wrong}).status_code == 424
        added = http.post(
            "/v1/streams",
            json={"name": "door", "source": camera.url("silent"), "username": "admin", "password": PASSWORD},
        )
        assert added.status_code == 201, added.text
        assert added.json()["source"] == camera.url("silent").replace("//", "//admin:•••@")
        wait_for(lambda: http.get("/v1/streams/door").json()["state"] == "live")
        refused = http.patch("/v1/streams/door", json={"password": "c4nary-wrong"})
        assert refused.status_code == 424, refused.text
        assert http.get("/v1/streams/door").json()["state"] == "live", "what cannot be opened changes nothing"
        changed = http.patch("/v1/streams/door", json={"name": "front", "password": PASSWORD})
        assert (changed.status_code, changed.json()["name"]) == (200, "front"), changed.text
        wait_for(lambda: http.get("/v1/streams/front").json()["state"] == "live")
        assert "settings changed" in [
            gap["reason"] for gap in wait_for(lambda: http.get("/v1/streams/front/coverage").json()["gaps"])
        ]
        said = http.get("/v1/streams").text + http.get("/metrics").text + http.get("/v1/openapi.json").text
        assert repr(service.store.streams.get("front")).count("c4nary") == 0
    told = [said, caplog.text, refused.text, added.text, changed.text]
    shapes = (PASSWORD, quote(PASSWORD, safe=""), base64.b64encode(PASSWORD.encode()).decode(), "c4nary")
    assert [shape for shape in shapes if any(shape in text for text in told)] == []
    kept = b"".join(path.read_bytes() for path in settings.folder.rglob("*") if path.is_file())
    assert [shape for shape in shapes if shape.encode() in kept] == []


def test_a_lost_key_is_a_state_and_the_login_can_be_given_again(settings: Settings) -> None:
    with running(settings):
        leave_in_the_clear(settings, "rtsp://127.0.0.1:1/x")
    with running(settings) as (_, http):
        wait_for(lambda: http.get("/v1/streams/door").json()["state"] == "offline")
    settings.key_file.unlink()
    with running(settings) as (_, http):
        shown = http.get("/v1/streams/door").json()
        assert shown["state"] == "failed"
        assert "is gone" in shown["detail"]
        answer = http.patch("/v1/streams/door", json={"password": "new"})
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:hindsight:credentials-lost")
        assert "credentials again" in answer.json()["advice"]
        given = {"username": "admin", "password": "new"}
        assert http.patch("/v1/streams/door", json=given).status_code == 200
        wait_for(lambda: http.get("/v1/streams/door").json()["state"] == "offline")
        given["source"] = "rtsp://127.0.0.1:1/y"
        assert http.patch("/v1/streams/door", json=given).json()["source"] == "rtsp://admin:•••@127.0.0.1:1/y"
        assert http.get("/v1/health").json()["ok"]


@pytest.mark.parametrize(
    ("source", "login"),
    [
        ("rtsp://127.0.0.1:1/y", ("admin", "old-clear-word")),
        ("rtsp://127.0.0.1:1/x?channel=2#transport=udp", ("admin", "old-clear-word")),
        ("rtsp://viewer@127.0.0.1:1/y", ("viewer", "")),
        ("rtsp://127.0.0.1:2/x", ("", "")),
        ("rtsp://127.0.0.2:1/x", ("", "")),
        ("http://127.0.0.1:1/x", ("", "")),
    ],
)
def test_a_login_stays_with_the_place_it_was_given_for(
    source: str, login: tuple[str, str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another path of the same camera is asked with it; another host, port or way is told nothing."""
    asked: list[SourceSpec] = []
    with running(settings):
        leave_in_the_clear(settings, "rtsp://127.0.0.1:1/x")
    with running(settings) as (service, http):
        monkeypatch.setattr(service.streams, "_probe", asked.append)
        assert http.patch("/v1/streams/door", json={"source": source}).status_code == 200
        assert [(one.username, one.password.reveal()) for one in asked] == [login]


def leave_in_the_clear(settings: Settings, source: str) -> None:
    """A camera that was added by an earlier version, which kept everything in the clear."""
    with sqlite3.connect(settings.folder / "hindsight.db") as database:
        database.execute(
            "INSERT INTO streams (id, name, kind, source, masked, state, state_at, detail, added, paused, frames)"
            " VALUES ('door', 'door', 'live', ?, 'x', 'offline', 0, '', 0, 0, 0)",
            (source.replace("//", "//admin:old-clear-word@"),),
        )


@pytest.mark.parametrize("behind", ["", "#hall"])
def test_credentials_of_an_earlier_version_are_sealed_at_the_next_start(settings: Settings, behind: str) -> None:
    """That version took anything behind a `#`, and no notice of it."""
    with running(settings):
        leave_in_the_clear(settings, f"rtsp://127.0.0.1:1/x?token=abcdefgh{behind}")
    assert b"old-clear-word" in whole(settings)
    with running(settings) as (service, http):
        row = service.store.streams.get("door")
        assert row.source == "rtsp://127.0.0.1:1/x?token=•••"
        assert row.login.startswith("v1:")
        assert http.get("/v1/streams/door").json()["source"] == "rtsp://admin:•••@127.0.0.1:1/x?token=•••"
        wait_for(lambda: http.get("/v1/streams/door").json()["state"] == "offline")
    assert b"old-clear-word" not in whole(settings)
    assert b"abcdefgh" not in whole(settings)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("user=a_password=c4naryword_channel=1", "user=a_password=•••_channel=1"),
        ("c4narywordc4naryword?enableSrtp", "•••?enableSrtp"),
        ("c4narywordc4naryword?token=•••", "•••?token=•••"),
    ],
)
def test_a_password_in_a_path_is_sealed_beside_the_login_that_was(
    path: str, shown: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """That version sealed logins, and took the path for none of its business."""
    caplog.set_level(logging.DEBUG)
    clear = f"rtsp://127.0.0.1:1/{path}"
    with running(settings) as (service, _):
        login = Vault(settings.key_file).seal(json.dumps(["admin", "hush", ""]), StreamId("door"))
        row = StreamRow(StreamId("door"), "door", "live", clear, clear, "offline", "", Moment(1), login=login)
        service.store.streams.add(row)
    with running(settings) as (_, http):
        known = http.get("/v1/streams/door").json()
        assert known["source"] == f"rtsp://admin:•••@127.0.0.1:1/{shown}"
        wait_for(lambda: http.get("/v1/streams/door").json()["state"] == "offline")
        back = {"source": known["source"], "username": "admin", "password": "other"}
        asked = http.patch("/v1/streams/door", json=back)  # it is where it was, and nobody is there
        told = asked.text + "".join(http.get(at).text for at in ("/v1/streams/door", "/v1/health", "/metrics"))
        assert (asked.status_code, asked.json()["source"]) == (200, known["source"])
    assert "c4naryword" not in told + caplog.text
    assert b"c4naryword" not in whole(settings)


def whole(settings: Settings) -> bytes:
    return b"".join(path.read_bytes() for path in settings.folder.glob("hindsight.db*"))


# --- webhooks --------------------------------------------------------------------------------------------------

SECRETS = ("c4naryuser", "c4nary-word", "T000c4nary", "c4nary-token", "c4nary-fragment")


def hook(receiver: Receiver) -> str:
    """An address with every kind of secret that is in use."""
    user, word, path, token, fragment = SECRETS
    place = receiver.url.replace("//", f"//{user}:{word}@").removesuffix("/hook")
    return f"{place}/services/{path}?token={token}#{fragment}"


@pytest.mark.parametrize(
    ("whole", "told"),
    [
        ("", ""),
        ("https://example.org", "https://example.org"),
        ("https://example.org/", "https://example.org/"),
        ("https://example.org:8443/hook", "https://example.org:8443/•••"),
        ("https://example.org?token=abc", "https://example.org/•••"),
        ("https://a:b@example.org", "https://•••@example.org"),
        ("https://a@example.org/x/y?z#w", "https://•••@example.org/•••"),
        ("http://[::1", "•••"),
        ("no address", "•••"),
    ],
)
def test_a_webhook_is_shown_by_its_host_alone(whole: str, told: str) -> None:
    assert shown(whole) == told


@given(_TEXT, _TEXT, _TEXT, _TEXT)
def test_nothing_of_a_webhook_but_its_host_is_shown(user: str, word: str, path: str, query: str) -> None:
    user, word, path, query = (quote("s3cret" + part, safe="") for part in (user, word, path, query))
    assert shown(f"https://{user}:{word}@example.org:1/{path}?{query}#{path}") == "https://•••@example.org:1/•••"


def test_a_webhook_is_called_whole_and_is_nowhere_in_the_clear(
    settings: Settings,
    films: Path,
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Made, listed, changed by sending back what was shown, refused, failed, delivered: nobody is told its secrets."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(notify, "FIRST_RETRY_S", 0.05)
    receiver.failures = 2
    told = []
    with running(settings) as (service, http):
        made = http.post("/v1/rules", json={**RULE, "webhook": hook(receiver)})
        masked = receiver.url.replace("//", "//•••@").replace("/hook", "/•••")
        assert (made.status_code, made.json()["webhook"]) == (201, masked), made.text
        kept = service.store.rules.get("red")
        back = http.patch("/v1/rules/red", json={**RULE, "webhook": masked, "threshold": 0.65})
        assert (back.status_code, back.json()["webhook"], back.json()["threshold"]) == (200, masked, 0.65), back.text
        assert http.patch("/v1/rules/red", json={"cooldown_s": 1}).json()["webhook"] == masked
        assert service.store.rules.get("red").address == kept.address
        unescaped = receiver.url.replace("//", "//c4naryuser:c4nary-word/")  # a parser takes the password for a port
        for wrong in (masked.replace("•••@", "•••@other."), hook(receiver).replace("http", "ftp"), unescaped):
            refused = http.patch("/v1/rules/red", json={"webhook": wrong})
            assert (refused.status_code, bool(refused.json()["advice"])) == (400, True), refused.text
            told.append(refused.text)
        add(http, "door", films / "red.mp4")
        wait_for(lambda: 'hindsight_webhooks_total{result="delivered"} 1.0' in http.get("/metrics").text)
        listed = on_the_command_line(http, "rule", "list")
        assert "•••" in listed
        told += [made.text, back.text, listed, repr(kept), http.get("/metrics").text]
        told += [http.get(f"/v1/{what}").text for what in ("rules", "rules/red", "alerts", "health", "openapi.json")]
    assert receiver.paths == ["/services/T000c4nary?token=c4nary-token"] * 3
    login = base64.b64encode(b"c4naryuser:c4nary-word").decode()
    assert {headers["authorization"] for headers, _ in receiver.calls} == {f"Basic {login}"}
    files = b"".join(path.read_bytes() for path in settings.folder.rglob("*") if path.is_file())
    for secret in (login, "c4nary"):
        assert [text for text in (*told, caplog.text) if secret in text] == []
        assert secret.encode() not in files


def on_the_command_line(http: httpx.Client, *words: str) -> str:
    place = {"HINDSIGHT_HOST": "127.0.0.1", "HINDSIGHT_PORT": str(http.base_url.port), "COLUMNS": "200"}
    command = [sys.executable, "-m", "api.cli", *words]
    return subprocess.run(command, env={**os.environ, **place}, capture_output=True, text=True, check=True).stdout


def test_the_webhook_for_blindness_is_a_secret_of_the_settings(settings: Settings) -> None:
    told = Settings(data=settings.data, blind_webhook=SecretStr("https://example.org/c4nary"))
    assert "c4nary" not in repr(told) + str(told) + told.model_dump_json()


def test_webhooks_of_an_earlier_version_are_sealed_at_the_next_start(settings: Settings, receiver: Receiver) -> None:
    with running(settings) as (_, http):
        http.post("/v1/rules", json={**RULE, "webhook": receiver.url})
        http.post("/v1/rules", json={**RULE, "name": "plain", "webhook": "https://example.org/"})
    earlier(settings, hook(receiver))
    assert b"c4nary" in whole(settings)
    with running(settings) as (service, http):
        assert http.get("/v1/rules/red").json()["webhook"] == shown(hook(receiver))
        assert service.store.rules.get("plain").address == "", "nothing of it is a secret"
        assert wait_for(lambda: receiver.paths) == ["/services/T000c4nary?token=c4nary-token"], "what waited goes out"
        assert b"c4nary" not in whole(settings)
    assert b"c4nary" not in whole(settings)


def earlier(settings: Settings, url: str) -> None:
    """The database as the version before left it: the address in the rule's text, and in a delivery that waits."""
    database = Database(f"sqlite:///{settings.folder / 'hindsight.db'}")
    migrations.upgrade(database, back_to="0006")
    database.close()
    with sqlite3.connect(settings.folder / "hindsight.db") as raw:
        [(rule, body)] = raw.execute("SELECT id, body FROM rules WHERE name = 'red'").fetchall()
        before = {name: value for name, value in json.loads(body).items() if name != "address"}
        raw.execute("UPDATE rules SET body = ? WHERE id = ?", (json.dumps({**before, "webhook": url}), rule))
        raw.execute(
            "INSERT INTO streams (id, name, kind, source, masked, state, state_at, detail, added, paused, frames)"
            " VALUES ('door', 'door', 'live', 'rtsp://127.0.0.1:1/x', 'x', 'paused', 0, '', 0, 1, 0)"
        )
        raw.execute(
            "INSERT INTO alerts (key, sequence, rule, stream, start, end, score, peak, why)"
            " VALUES ('k', 1, ?, 'door', 0, 1, 0.9, 0, 'because')",
            (rule,),
        )
        raw.execute(
            "INSERT INTO outbox (alert_key, url, attempts, due, delivered, error) VALUES ('k', ?, 0, 0, 0, '')", (url,)
        )


def test_an_alert_waits_while_the_key_of_its_webhook_is_lost(
    settings: Settings, films: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said where, and what to do; the rule goes on, and what waited goes out once the address is given again."""
    monkeypatch.setattr(notify, "FIRST_RETRY_S", 0.05)
    with running(settings) as (_, http):
        masked = http.post("/v1/rules", json={**RULE, "webhook": hook(receiver)}).json()["webhook"]
    settings.key_file.unlink()
    with running(settings) as (_, http):
        add(http, "door", films / "red.mp4")
        wait_for(lambda: 'hindsight_webhooks_total{result="failed"}' in http.get("/metrics").text)
        [check] = [one for one in http.get("/v1/health").json()["checks"] if one["name"] == "webhooks"]
        assert "1 wait to be delivered. Nobody is told of red. The credentials cannot be read" in check["detail"]
        assert "of a webhook the whole address" in check["detail"]
        assert http.get("/v1/rules/red").json()["webhook"] == masked
        assert http.patch("/v1/rules/red", json={"cooldown_s": 1}).status_code == 200
        kept = http.patch("/v1/rules/red", json={"webhook": masked})
        assert (kept.status_code, kept.json()["type"]) == (403, "urn:hindsight:credentials-lost")
        assert "whole address" in kept.json()["advice"]
        assert receiver.calls == []
        assert "c4nary" not in on_the_command_line(http, "rule", "change", "red", "--webhook", hook(receiver))
        wait_for(lambda: receiver.paths)
        assert "Nobody" not in http.get("/v1/health").text


@pytest.mark.service
def test_what_the_service_starts_gets_none_of_its_settings(tmp_path: Path) -> None:
    """A model's process, above all, runs what came with the model."""
    secrets = {"HINDSIGHT_LLM_KEY": "c4nary-llm", "HINDSIGHT_WEBHOOK_SECRET": "c4nary-hook", "KEPT": "k3pt"}
    hindsight = Hindsight(tmp_path, secrets).start()
    assert hindsight.process is not None
    service = hindsight.process.pid
    try:
        wait_for(lambda: any(runs(one, b"models.worker") for one in tree(service)), within_s=90)
        for child in tree(service)[1:]:
            environment = Path(f"/proc/{child}/environ").read_bytes()
            assert b"HINDSIGHT_" not in environment
            assert b"c4nary" not in environment
            assert b"k3pt" in environment or not runs(child, b"models.worker")
    finally:
        hindsight.end()

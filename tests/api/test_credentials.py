"""Credentials: apart from the source, sealed on the disk, masked wherever they are shown, and lost without a crash."""

from __future__ import annotations

import base64
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from api.settings import Settings
from api.vault import CredentialsLost, Vault
from ingest.errors import Invalid
from ingest.sources import parse
from tests.api.conftest import running, wait_for
from tests.ingest.conftest import RtspServer, rtsp

__all__ = ["rtsp"]

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
def test_a_password_is_changed_while_watched_and_is_nowhere_in_the_clear(
    settings: Settings, rtsp: Callable[..., RtspServer], caplog: pytest.LogCaptureFixture
) -> None:
    """A camera gets another password; the new one is given; nothing that is kept, said or logged has it."""
    caplog.set_level(logging.DEBUG)
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
        assert "paused" in [
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
        assert http.patch("/v1/streams/door", json=given).status_code == 424, "the camera is asked with the new login"
        assert http.get("/v1/health").json()["ok"]


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


def whole(settings: Settings) -> bytes:
    return b"".join(path.read_bytes() for path in settings.folder.glob("hindsight.db*"))

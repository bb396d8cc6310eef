"""The command line by itself: help, usage, what it makes of errors. With a real service: test_service.py."""

from __future__ import annotations

import json
import socket

import pytest
from typer.testing import CliRunner

from api.cli import app as dispatcher
from api.cli import demo, rules
from ingest.errors import (
    Busy,
    Conflict,
    Fatal,
    HindsightError,
    Invalid,
    NotFound,
    NotVideo,
    SourceRefused,
    SourceUnavailable,
)

COMMANDS = """
    serve demo add streams pause resume remove ask find search summary rule alerts clip frame erase budget health doctor
"""


@pytest.mark.parametrize("command", COMMANDS.split())
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(dispatcher.app, [command, "--help"])
    assert result.exit_code == 0
    assert command in result.output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("x"), 3),
        (Invalid("x"), 3),
        (Conflict("x"), 3),
        (SourceRefused("x"), 3),
        (NotVideo("x"), 3),
        (SourceUnavailable("x"), 4),
        (Busy("x"), 4),
        (Fatal("x"), 5),
        (HindsightError("x"), 5),
    ],
)
def test_exit_codes(error: HindsightError, code: int) -> None:
    assert dispatcher.exit_code(error) == code


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["hindsight", *arguments])
    try:
        return dispatcher.run()
    except SystemExit as left:
        return int(left.code or 0)


def test_no_service(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, and not listening
        monkeypatch.setenv("HINDSIGHT_PORT", str(nobody.getsockname()[1]))
        assert run(monkeypatch, "streams") == 4
        assert "hindsight serve" in capsys.readouterr().err
        assert run(monkeypatch, "streams", "--json") == 4
        told = json.loads(capsys.readouterr().err)
        assert (told["code"], "hindsight serve" in told["advice"]) == ("source-unavailable", True)


def test_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "find") == 2
    assert run(monkeypatch, "nonsense") == 2
    assert run(monkeypatch, "find", "x", "--threshold", "7") == 2
    assert run(monkeypatch, "rule", "test", "x", "--days", "monday") == 2


def test_settings_that_make_no_sense(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("HINDSIGHT_KEY", raising=False)
    assert run(monkeypatch, "serve", "--host", "0.0.0.0") == 3
    assert "without a key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "granted"),
    [
        ("rtsp://user:secret@127.0.0.1:8554/cam", ["127.0.0.1/32"]),
        ("http://[::1]:8000/film.mp4", ["::1/128"]),
        ("http://no-such-host.invalid/film.mp4", []),
        ("/dev/video0", []),
        ("film.mp4", []),
    ],
)
def test_who_starts_the_demonstration_on_an_address_grants_that_address_alone(source: str, granted: list[str]) -> None:
    assert demo.addresses_of(source) == granted


@pytest.mark.parametrize(
    ("during", "days", "expected"),
    [
        (None, None, {"days": [1, 2, 3, 4, 5, 6, 7], "start": "00:00", "end": "24:00", "timezone": "UTC"}),
        ("22:00-06:00", "1-5", {"days": [1, 2, 3, 4, 5], "start": "22:00", "end": "06:00", "timezone": "UTC"}),
        ("08:00 – 12:30", "6,7", {"days": [6, 7], "start": "08:00", "end": "12:30", "timezone": "UTC"}),
    ],
)
def test_schedules(during: str | None, days: str | None, expected: dict[str, object]) -> None:
    assert rules.schedule(during, days, "UTC") == expected

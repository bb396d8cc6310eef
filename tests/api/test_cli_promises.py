"""What every command promises: --json, exit codes, completion, a bar for what takes long; and the Makefile."""

from __future__ import annotations

import gc
import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.main import get_command

from api.cli import app as dispatcher
from api.cli import demo
from api.settings import Settings
from tests.api.conftest import add, running
from tests.api.test_cli import run as here

ROOT = Path(__file__).parents[2]
TALK = {"serve", "demo"}
"""Commands that stay, and whose output is for people."""


def commands() -> Iterator[tuple[str, object]]:
    def walk(prefix: str, group: object) -> Iterator[tuple[str, object]]:
        for name, command in getattr(group, "commands", {}).items():
            if hasattr(command, "commands"):
                yield from walk(f"{prefix}{name} ", command)
            else:
                yield prefix + name, command

    yield from walk("", get_command(dispatcher.app))


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_every_command_speaks_json(name: str, command: object) -> None:
    options = {option for parameter in command.params for option in parameter.opts}  # type: ignore[attr-defined]
    assert ("--json" in options) == (name.rsplit(maxsplit=1)[-1] not in TALK)


@pytest.fixture
def port(settings: Settings, films: Path) -> Iterator[int]:
    with running(settings) as (_, http):
        add(http, "door", films / "red.mp4")
        yield http.base_url.port or 0


def run(port: int, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HINDSIGHT_")}
    environment = {**kept, "HINDSIGHT_PORT": str(port), **extra}
    command = [sys.executable, "-P", "-m", "api.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[httpx.Client]:
    """Every HTTP client that is made from here on."""
    clients: list[httpx.Client] = []

    class Watched(httpx.Client):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            clients.append(self)

    monkeypatch.setattr(httpx, "Client", Watched)
    return clients


def test_json_and_exit_codes(
    port: int,
    tmp_path: Path,
    films: Path,
    opened: list[httpx.Client],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where something was found 0, where nothing was 1, refused 3; with --json nothing else on stdout; and a command's
    connections end with it."""
    monkeypatch.setenv("HINDSIGHT_PORT", str(port))
    picture = tmp_path / "then.jpg"
    for arguments, code in (
        (("streams",), 0),
        (("ask", "red", "--stream", "door"), 0),
        (("ask", "purple"), 1),
        (("find", "red"), 0),
        (("find", "red", "--from", "00:08"), 1),
        (("search", "red"), 0),
        (("search", "red", "--from", "tomorrow"), 1),
        (("summary",), 1),
        (("rule", "add", "red", "red"), 0),
        (("rule", "list"), 0),
        (("rule", "test", "red"), 0),
        (("rule", "test", "purple"), 1),
        (("rule", "remove", "red"), 0),
        (("alerts",), 1),
        (("clip", "door", "00:03", "00:05", "-o", str(tmp_path / "then.mp4")), 0),
        (("frame", "door", "00:05", "-o", str(picture)), 0),
        (("search", "--image", str(picture)), 0),
        (("pause", "door"), 3),
        (("health",), 0),
        (("doctor",), 0),
        (("budget",), 0),
        (("erase", "door", "--from", "00:00", "--to", "00:01", "--yes"), 0),
        (("find", "red", "--stream", "nobody"), 3),
        (("find", "red", "--from", "whenever"), 3),
        (("rule", "add", "hook", "red", "--webhook", "http://169.254.169.254/"), 3),
        (("add", "gone", str(films / "gone.mp4")), 3),
        (("add", "long", "/" + "a" * 300), 3),
        (("remove", "door", "--yes"), 0),
    ):
        left, (out, error) = here(monkeypatch, *arguments, "--json"), capsys.readouterr()
        assert left == code, (arguments, out, error)
        told = json.loads(error if code == 3 else out)
        assert code != 3 or ({"code", "detail", "advice"} == set(told) and out == ""), told
    for arguments in (
        ("search",),
        ("search", "red", "--image", str(picture)),
        ("frame", "door"),
        ("find", "x", "--limit", "0"),
    ):
        assert here(monkeypatch, *arguments) == 2, arguments
    gc.collect()
    assert len(opened) > 20
    assert all(client.is_closed for client in opened)


def test_a_frame_of_another_time_is_refused(http: httpx.Client, films: Path, tmp_path: Path) -> None:
    add(http, "door", films / "red.mp4")
    out = tmp_path / "no.jpg"
    for when in ("00:20", "yesterday", "tomorrow 14:00", "2020-01-01"):
        refused = run(http.base_url.port or 0, "frame", "door", when, "-o", str(out))
        assert (refused.returncode, "no picture of door then" in refused.stderr) == (3, True), refused.stderr
    assert list(tmp_path.glob("*.jpg*")) == []


def completion(*arguments: str, **extra: str) -> str:
    program = "import sys; sys.argv[0] = 'hindsight'; from api.cli.app import app; app(prog_name='hindsight')"
    command = [sys.executable, "-P", "-c", program, *arguments]
    return subprocess.run(command, env={**os.environ, **extra}, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_gets_its_script(shell: str) -> None:
    script = completion("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert f"_HINDSIGHT_COMPLETE=complete_{shell}" in script


def test_bash_completes_commands_and_options() -> None:
    def offered(line: str) -> list[str]:
        place = str(len(line.split(" ")) - 1)
        return completion(_HINDSIGHT_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=place).split()

    assert {"streams", "search", "summary", "serve"} <= set(offered("hindsight s"))
    assert "--follow" in offered("hindsight alerts --f")


@pytest.mark.slow
def test_long_work_shows_a_bar_to_whoever_looks(port: int, films: Path) -> None:
    """On a terminal, and on stderr alone: what is piped on stays clean."""
    master, slave = pty.openpty()
    command = [sys.executable, "-P", "-m", "api.cli", "add", "yard", str(films / "two.mp4"), "--wait", "--json"]
    environment = {**os.environ, "HINDSIGHT_PORT": str(port), "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=slave) as process:
        os.close(slave)
        shown = b""
        with suppress(OSError):  # a terminal whose other end is closed
            while piece := os.read(master, 65536):
                shown += piece
        assert process.stdout is not None
        assert json.loads(process.stdout.read())["state"] == "finished"
    os.close(master)
    assert process.returncode == 0
    assert "yard" in shown.decode()
    assert "━" in shown.decode()
    assert "100%" in shown.decode()


@pytest.mark.parametrize(
    "video",
    ["rtsp://user:pa$$word@host/stream?a=1&b=2", 'it\'s a "film" & more; $(touch gone).mp4', "`touch gone`.mp4"],
)
def test_the_makefile_hands_on_any_video_as_it_is(tmp_path: Path, video: str) -> None:
    """A stand-in for the command says what it was started with: no shell has read the name."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    shutil.copy(ROOT / "Makefile", tmp_path)
    commands = tmp_path / ".venv" / "bin"
    commands.mkdir(parents=True)
    for name in ("python", "hindsight"):
        (commands / name).write_text("#!/bin/sh\nprintf '%s\\n' \"$@\" > said\n")
        (commands / name).chmod(0o755)
    for name in ("pyproject.toml", "constraints.txt", ".venv/run"):
        (tmp_path / name).touch()
    os.utime(tmp_path / ".venv" / "run", (2**31, 2**31))
    made = subprocess.run(
        ["make", "demo"], cwd=tmp_path, env={**os.environ, "VIDEO": video}, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "said").read_text().splitlines()[-2:] == ["--video", video]
    assert not (tmp_path / "gone").exists()


def test_a_demonstration_on_what_is_no_video_says_where_the_service_is(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It goes on: another video may be added to it."""
    (tmp_path / "notes.txt").write_text("no video")
    with running(settings) as (_, http):
        address = str(http.base_url)
        demo._show_around(settings, address, "video", str(tmp_path / "notes.txt"))
    told = capsys.readouterr()
    assert address in told.out
    assert "not video" in told.err

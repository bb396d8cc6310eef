"""A copy of the folder, made while the service was stopped, is a backup: put back, everything is there."""

from __future__ import annotations

import shutil
from pathlib import Path

from api.settings import Settings
from tests.api.conftest import add, ask, running


def test_a_copy_that_is_put_back_answers_as_before(settings: Settings, films: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    with running(settings) as (_, http):
        add(http, "door", films / "red.mp4")
        before = ask(http, "red")
        assert before["citations"]
    shutil.copytree(settings.folder, backup)
    with running(settings) as (_, http):
        http.delete("/v1/streams/door")
    shutil.rmtree(settings.folder)
    shutil.copytree(backup, settings.folder)
    with running(settings) as (_, http):
        after = ask(http, "red")
        assert after["citations"] == before["citations"]
        assert all(check["ok"] for check in http.post("/v1/doctor").json())

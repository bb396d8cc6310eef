"""The whole service with its database on a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.compose import Service
from api.settings import Settings
from ingest.errors import HindsightError
from tests.api.conftest import add, ask, fake_models, running
from tests.postgres import Postgres, served

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with served() as server:
        yield server


def test_what_was_seen_is_asked_of_again_after_a_restart_and_erased(
    settings: Settings, films: Path, postgres: Postgres
) -> None:
    settings = settings.model_copy(update={"database": postgres.fresh()})
    with running(settings) as (_, client):
        added = add(client, "street", films / "red.mp4")
        before = ask(client, "red")
        assert before["citations"]
    assert not (settings.folder / "hindsight.db").exists()
    with running(settings) as (_, client):
        again = ask(client, "red")
        assert [one["span"] for one in again["citations"]] == [one["span"] for one in before["citations"]]
        assert client.get("/v1/health").status_code == 200
        assert client.delete(f"/v1/streams/{added['id']}").is_success
        assert not client.get("/v1/streams").json()
        assert not ask(client, "red")["citations"]


def test_a_server_that_is_not_there_is_said_at_the_start(settings: Settings, tmp_path: Path) -> None:
    nowhere = settings.model_copy(update={"database": f"postgresql+psycopg://hindsight@/x?host={tmp_path}"})
    with pytest.raises(HindsightError, match="server cannot be reached"):
        Service(nowhere, fake_models()).start()

"""Profiles as configured: models in child processes, and a language model over HTTP whose claims are checked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from api.compose import Service
from api.profile import chosen
from api.settings import Settings
from ingest.errors import Conflict, Invalid, NotFound
from ingest.guard import Guard
from models.fake import FakeEncoder
from tests.api.conftest import add, ask, fake_models, running


class OtherEncoder(FakeEncoder):
    id = "other-1"


@pytest.mark.parametrize(("german", "english"), [("de", "en"), ("deu", "eng"), ("ger", "eng")])
def test_the_language_of_the_settings_reaches_the_recogniser(german: str, english: str, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, profile="fake", language=german)
    with pytest.raises(Invalid, match="understands English alone, and not 'de'"):
        chosen(settings, Guard([], ()))
    chosen(Settings(data=tmp_path, profile="fake", language=english), Guard([], ())).close()


PIECES = ["Something red", " came in [1", "]. It stole the", " painting. A dog", " followed [7]", " [1]."]


@pytest.fixture
def language_model() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """A real server that speaks chat completions, and makes things up."""
    asked: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append({"path": self.path, "key": self.headers["Authorization"], **body})
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for piece in PIECES:
                data = json.dumps({"choices": [{"delta": {"content": piece}}]})
                self.wfile.write(f"data: {data}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its signature
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_a_language_model_invents_is_taken_out(
    settings: Settings, films: Path, language_model: tuple[str, list[dict[str, object]]]
) -> None:
    url, asked = language_model
    changes = {"profile": "fake", "llm_url": url, "llm_model": "liar", "llm_key": SecretStr("sesame"), "networks": []}
    settings = settings.model_copy(update=changes)
    with running(settings, chosen(settings, Guard(settings.readable))) as (service, http):
        assert service.models.system.id == "openai:liar"
        add(http, "door", films / "red.mp4")
        answer = ask(http, "red?")
    assert answer["text"] == "Something red came in [1]. A dog followed [1]."
    assert (answer["citations_removed"], answer["sentences_removed"]) == (1, 1)
    assert [citation["number"] for citation in answer["citations"]] == [1]
    assert asked[0]["path"] == "/v1/chat/completions"
    assert asked[0]["key"] == "Bearer sesame"
    assert asked[0]["model"] == "liar"


def test_one_encoder_per_memory_and_only_known_profiles(settings: Settings) -> None:
    Service(settings, fake_models()).close()
    with pytest.raises(Conflict, match="other-1"):
        Service(settings, replace(fake_models(), encoder=OtherEncoder()))
    with pytest.raises(NotFound, match="magic"):
        Service(settings.model_copy(update={"profile": "magic"}))

"""Video-language systems chosen by settings: small random weights in the published layout, the real service."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import TypeAdapter

from api.profile import chosen
from api.settings import Settings
from ingest.errors import Invalid, NotFound
from ingest.guard import Guard
from ingest.questions import Evidence, Recollection
from ingest.records import StreamId
from models.systems.ma_lmm import MaLmmConfig, MaLmmSystem
from models.systems.minigpt4_video import MiniGpt4VideoConfig
from models.systems.opening import SIZES, SYSTEMS, open_system
from models.systems.video_llama import VideoLlamaConfig
from tests.api.conftest import add, ask, running, wait_for
from tests.conserved import assert_left_conserved
from tests.models.systems.conftest import MAKERS
from tests.models.test_blip_family import (
    MA_LMM,
    MINIGPT,
    VIDEO_LLAMA,
    write_ma_lmm,
    write_minigpt4_video,
    write_video_llama,
)

WRITERS: dict[str, tuple[Callable[[Path], Path], type[Any], Any]] = {
    "ma-lmm": (write_ma_lmm, MaLmmConfig, MA_LMM),
    "video-llama": (write_video_llama, VideoLlamaConfig, VIDEO_LLAMA),
    "minigpt4-video": (write_minigpt4_video, MiniGpt4VideoConfig, MINIGPT),
}
"""Those that are published without a config.json."""


def published(name: str, folder: Path) -> Path:
    """A small system with random weights as it would be downloaded."""
    folder.mkdir()
    if name in MAKERS:
        MAKERS[name](folder)
        return folder
    write, kind, config = WRITERS[name]
    (folder / SIZES).write_bytes(TypeAdapter(kind).dump_json(config))
    return write(folder)


def small_ma_lmm(folder: Path) -> Path:
    return published("ma-lmm", folder)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds of a grey yard; from the second to the sixth a red box goes through it."""
    import av

    path = tmp_path_factory.mktemp("yard") / "yard.mp4"
    rate = 10
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for number in range(8 * rate):
            pixels = np.full((180, 320, 3), 90, np.uint8)
            left = (number - 2 * rate) * 6
            if 0 <= left <= 240:
                pixels[70:120, left : left + 60] = (220, 30, 20)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.service
def test_ma_lmm_answers_in_the_service(settings: Settings, film: Path, tmp_path: Path) -> None:
    folder = small_ma_lmm(tmp_path / "ma-lmm")
    changes = {"audio": False, "system": "ma-lmm", "system_folder": folder, "roots": [film.parent]}
    settings = settings.model_copy(update=changes)
    with running(settings, chosen(settings, Guard(settings.readable))) as (service, http):
        add(http, "door", film)
        answer = ask(http, "What happened?")
        assert answer["model"] == service.models.system.id == "ma-lmm"
        assert answer["found"], answer
        assert {citation["stream_name"] for citation in answer["citations"]} == {"door"}
        assert ask(http, "What happened?")["text"] == answer["text"]
        checks = {check["name"]: check for check in http.get("/v1/health").json()["checks"]}
        assert checks["system"]["ok"]
        assert checks["system"]["detail"].startswith("it saw a picture")


@pytest.mark.service
def test_ma_lmm_answers_from_what_it_remembers_when_the_recording_is_gone(
    settings: Settings, film: Path, tmp_path: Path
) -> None:
    folder = small_ma_lmm(tmp_path / "ma-lmm")
    gone, stays = tmp_path / "gone.mp4", tmp_path / "stays.mp4"
    for copy in (gone, stays):
        shutil.copyfile(film, copy)
    settings = settings.model_copy(update={"audio": False, "system": "ma-lmm", "system_folder": folder})
    asked = "What happened?"
    with running(settings, chosen(settings, Guard(settings.readable))) as (service, http):
        door, yard = (StreamId(add(http, name, path)["id"]) for name, path in (("door", gone), ("yard", stays)))
        kept = service.memory.recollections
        wait_for(lambda: kept.size(door) and kept.size(yard))
        gone.unlink()
        for stream in (door, yard):  # without the key frames there is nothing else to answer from
            service.memory._retention._shedding._drop_detail(stream, 1 << 40)
    with running(settings, chosen(settings, Guard(settings.readable))) as (service, http):  # it is on disk
        kept = service.memory.recollections
        extent = service.store.streams.extent(door)
        assert extent is not None
        found = kept.of(door, extent)
        assert found is not None
        assert found.frames == 8  # one a second
        answer = ask(http, asked, streams=["door"])
        assert answer["found"], answer
        assert answer["text"].split() == [*remembered(folder, found, asked), "[1]"]
        assert {citation["stream_name"] for citation in answer["citations"]} == {"door"}
        http.post("/v1/erase", json={"stream": "door", "from": "00:07", "to": "00:08"})
        assert kept.size(door) == 0
        assert kept.size(yard)
        with pytest.raises(AssertionError, match="There is no picture in the evidence"):
            ask(http, asked, streams=["door"])
        assert ask(http, asked, streams=["yard"])["found"]  # pictures are gone, though its file is not


def remembered(folder: Path, kept: Recollection, question: str) -> list[str]:
    """What MA-LMM says of a recollection, asked by itself: its words."""
    system = MaLmmSystem.load(folder, MA_LMM)
    blind = Evidence((), recollection=kept)
    return "".join(system.answer(question, blind)).split()


@contextmanager
def hindsight(*command: str, **names: str) -> Iterator[str]:
    """A command of ours in a process of its own; the first line it says."""
    process = subprocess.Popen(
        [sys.executable, "-m", "api.cli", *command],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | names,
    )
    late = threading.Timer(300, process.kill)
    late.start()
    try:
        assert process.stdout is not None
        yield process.stdout.readline()
    finally:
        late.cancel()
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.service
@pytest.mark.parametrize("name", SYSTEMS)
def test_models_serve_is_the_service_with_that_system(name: str, film: Path, tmp_path: Path) -> None:
    """Published layout and tokenizer files on disk, the command, a film, a question, an answer that streams."""
    folder = published(name, tmp_path / name)
    command = ("models", "serve", name, "--folder", str(folder), "--port", "0")
    names = {"HINDSIGHT_DATA": str(tmp_path / "data"), "HINDSIGHT_ROOTS": json.dumps([str(film.parent)])}
    with hindsight(*command, HINDSIGHT_AUDIO="false", **names) as line:
        assert line.startswith(f"Hindsight with {name} is at http://127.0.0.1:"), line
        with httpx.Client(base_url=line.split()[5], timeout=60, trust_env=False) as http:
            add(http, "door", film)
            answer = ask(http, "What happened?")
    assert_left_conserved(tmp_path / "data")
    assert answer["model"] == name
    assert answer["found"], answer
    assert answer["text"].strip()


def command(*words: str, data: Path, **more: str) -> subprocess.CompletedProcess[str]:
    names = {"HINDSIGHT_DATA": str(data), "HF_HUB_DISABLE_TELEMETRY": "1", **more}
    return subprocess.run(
        [sys.executable, "-m", "api.cli", "models", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | names,
        check=False,
    )


def test_check_loads_shows_a_picture_and_names_what_it_loaded(tmp_path: Path) -> None:
    folder = small_ma_lmm(tmp_path / "ma-lmm")
    done = command("check", "ma-lmm", "--folder", str(folder), "--json", data=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["check"].startswith("it saw a picture and began to answer")
    import hashlib

    digest = hashlib.sha256((folder / "eva_vit_g.pth").read_bytes()).hexdigest()
    assert {"name": "eva_vit_g.pth", "sha256": digest} in found["files"]
    (folder / "instruct_blip_vicuna7b_trimmed.pth").unlink()
    done = command("check", "ma-lmm", "--folder", str(folder), data=tmp_path)
    assert done.returncode == 3
    assert "instruct_blip_vicuna7b_trimmed.pth" in done.stderr
    done = command("check", "ma-lmn", data=tmp_path)
    assert done.returncode == 3
    assert "ma-lmm" in done.stderr


def test_any_model_of_transformers_is_told_apart_from_what_is_none(tmp_path: Path) -> None:
    folder = small_ma_lmm(tmp_path / "ma-lmm")
    done = command("check", "transformers", "--folder", str(folder), data=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "ma-lmm cannot be loaded as an image-text-to-text model" in done.stderr
    done = command("check", "transformers", data=tmp_path)
    assert done.returncode == 3, done.stderr
    assert f"There is no folder {tmp_path / 'models' / 'transformers'}." in done.stderr
    for word in ("show", "pull"):
        done = command(word, "transformers", data=tmp_path)
        assert done.returncode == 3, done.stderr
        assert "models check transformers --folder" in done.stderr


def listed(words: Sequence[str], data: Path) -> dict[str, object]:
    done = command(*words, "--json", data=data)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_show_knows_what_is_missing(tmp_path: Path) -> None:
    folder = small_ma_lmm(tmp_path / "ma-lmm")
    assert listed(["show", "ma-lmm", "--folder", str(folder)], tmp_path)["missing"] == []
    (folder / "eva_vit_g.pth").unlink()
    for shard in (folder / "llm" / "vicuna-7b").glob("*.safetensors"):
        shard.unlink()
    lacking = listed(["show", "ma-lmm", "--folder", str(folder)], tmp_path)["missing"]
    assert lacking == ["eva_vit_g.pth", "llm/vicuna-7b/*.safetensors|*.bin"]


def test_pull_without_a_network_says_so(tmp_path: Path) -> None:
    done = command("pull", "qwen2-vl", data=tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "Qwen/Qwen2-VL-2B-Instruct could not be fetched" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def hub() -> Iterator[tuple[str, dict[str, bytes]]]:
    """A server that speaks as much of the model hub's protocol as fetching a snapshot takes."""
    files: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._reply(b"", len(files.get(self._file(), b"")))

        def do_GET(self) -> None:
            if self.path.startswith("/api/models/"):
                siblings = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
                content = json.dumps({"id": "a/b", "sha": "c" * 40, "siblings": siblings}).encode()
                if "/tree/" in self.path:
                    content = json.dumps(
                        [
                            {"type": "file", "path": name, "size": len(one), "oid": "e" * 40}
                            for name, one in files.items()
                        ]
                    ).encode()
                self._reply(content, len(content), kind="application/json")
            else:
                self._reply(files[self._file()], len(files[self._file()]))

        def _file(self) -> str:
            return self.path.partition("?")[0].split("/resolve/")[-1].partition("/")[2]

        def _reply(self, content: bytes, length: int, kind: str = "application/octet-stream") -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(length))
            self.send_header("ETag", f'"{length:040x}"')
            self.send_header("X-Repo-Commit", "c" * 40)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its signature
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", files
    server.shutdown()
    thread.join()
    server.server_close()


def test_pull_fetches_what_is_missing_and_names_what_no_hub_has(
    hub: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    address, files = hub
    files |= {"config.json": b"{}", "tokenizer.model": b"words", "pytorch_model.bin": b"weights", "README.md": b"no"}
    files["checkpoints/video_llama_checkpoint_best.pth"] = b"trained"
    names = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    done = command("pull", "minigpt4-video", "--folder", str(tmp_path / "here"), data=tmp_path, **names)
    assert done.returncode == 1, done.stderr
    assert "By hand: eva_vit_g.pth from https://" in done.stdout
    assert (tmp_path / "here" / "llm" / "pytorch_model.bin").read_bytes() == b"weights"
    assert (tmp_path / "here" / "video_llama_checkpoint_best.pth").read_bytes() == b"trained"
    assert not list((tmp_path / "here").rglob("README.md"))
    (tmp_path / "here" / "eva_vit_g.pth").write_bytes(b"eye")
    files.clear()
    done = command("pull", "minigpt4-video", "--folder", str(tmp_path / "here"), data=tmp_path, **names)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("complete")
    told = command("pull", "minigpt4-video", "--folder", str(tmp_path / "here"), "--json", data=tmp_path, **names)
    assert json.loads(told.stdout) == {"folder": str(tmp_path / "here"), "missing": [], "by_hand": []}


def test_a_broken_table_of_sizes_is_named(tmp_path: Path) -> None:
    (tmp_path / SIZES).write_text('{"queries": "many"}')
    with pytest.raises(Invalid, match=r"sizes\.json cannot be read: queries"):
        open_system("ma-lmm", str(tmp_path))


def test_a_service_whose_system_lacks_a_file_does_not_start(settings: Settings, tmp_path: Path) -> None:
    changes = {"profile": "fake", "audio": False, "system": "qwen2-vl", "system_folder": tmp_path / "absent"}
    settings = settings.model_copy(update=changes)
    with pytest.raises(NotFound, match="no folder"):
        chosen(settings, Guard(settings.readable))

"""Out of memory: down the ladder, rung by rung; and a child that really has none left."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ingest.errors import TooLarge, Transient, by_code
from ingest.questions import Evidence
from models import worker
from models.parts.asking import Answering
from models.room import down_the_ladder, one_by_one, ran_out
from models.runtime import PATIENT, ModelProcess, ModelSpec, RemoteSystem
from tests.models.systems.conftest import exhibit, make_qwen2_vl
from tests.models.systems.conftest import make as make  # noqa: PLC0414  # a fixture
from tests.models.test_blip_family import SYSTEMS as BLIP_FAMILY
from tests.models.test_blip_family import (  # noqa: F401  # fixtures
    evidence,
    ma_lmm,
    minigpt4_video,
    video_llama,
)

ERRORS = (
    torch.OutOfMemoryError("CUDA out of memory."),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to …"),
)


def test_a_real_allocation_that_fails_is_recognised() -> None:
    with pytest.raises(RuntimeError) as failed:
        torch.empty(2**58, dtype=torch.uint8)
    assert ran_out(failed.value)
    assert not ran_out(RuntimeError("shapes do not match"))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("rungs", range(5))
def test_each_rung_shows_half_as_many_pictures(error: Exception, rungs: int) -> None:
    steps: list[int] = []

    def tell(step: int) -> Iterator[str]:
        steps.append(step)
        if len(steps) <= rungs:
            raise error
        yield from ("seen ", f"{8 // step}")

    answer = down_the_ladder(tell, 8)
    if rungs < 4:
        assert "".join(answer) == f"seen {8 // 2**rungs}"
        assert steps == [2**rung for rung in range(rungs + 1)]
    else:
        with pytest.raises(TooLarge, match="Not even one picture"):
            list(answer)
        assert steps == [1, 2, 4, 8]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_what_was_said_is_not_said_twice(error: Exception) -> None:
    def tell(_: int) -> Iterator[str]:
        yield "It began "
        raise error

    answer = down_the_ladder(tell, 8)
    assert next(answer) == "It began "
    with pytest.raises(TooLarge, match="in the middle"):
        next(answer)


def test_other_errors_are_not_taken_for_want_of_memory() -> None:
    def tell(_: int) -> Iterator[str]:
        raise RuntimeError("shapes do not match")
        yield ""

    with pytest.raises(RuntimeError, match="shapes"):
        list(down_the_ladder(tell, 8))


class Card:
    """A GPU that has room for so many pictures at once."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.tries: list[int] = []

    def encode(self, frames: Sequence[Any]) -> list[int]:
        self.tries.append(len(frames))
        if len(frames) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return [2 * frame for frame in frames]


def test_what_does_not_fit_on_a_shared_card_at_once_goes_one_by_one() -> None:
    roomy, narrow, full = Card(9), Card(1), Card(0)
    assert one_by_one(roomy.encode, [1, 2, 3]) == one_by_one(narrow.encode, [1, 2, 3]) == [2, 4, 6]
    assert (roomy.tries, narrow.tries) == ([3], [3, 1, 1, 1])
    with pytest.raises(Transient, match="GPU's memory is used up"):
        one_by_one(full.encode, [1, 2, 3])
    full.room = 1
    assert one_by_one(full.encode, [1, 2, 3]) == [2, 4, 6], "it is tried again"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("shapes do not match")], ids=["memory", "shapes"])
def test_what_no_other_time_would_change_is_not_tried_again(error: Exception) -> None:
    def fail(_: Sequence[Any]) -> list[int]:
        raise error

    with pytest.raises(type(error)):
        one_by_one(fail, [1, 2])


@pytest.mark.parametrize(("kind", "method"), [("encoder", "encode"), ("transcriber", "transcribe")])
def test_a_full_card_makes_a_stage_wait_and_sets_nothing_aside(
    kind: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the process of a model answers: what is transient there is tried again by whoever drives the stage."""
    said: list[Any] = []
    monkeypatch.setattr(worker.wire, "write", lambda _pipe, value: said.append(value))
    model = SimpleNamespace(**{method: Card(0).encode})
    worker._reply(0, worker._Served(model, kind), method, [1, 2])
    [(_, code, *_)] = said
    assert issubclass(by_code(code), Transient)


NAMES = {"chat-univi": "_tell", "video-chatgpt": "_tell", "qwen2-vl": "_say", "cogvlm2-video": "_tell"}


def starved(system: Any, method: str, times: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """`system` has no memory for its first answers; the list gets how often it tried."""
    tries: list[int] = []
    work = getattr(system, method)

    def without_room(*given: Any) -> Iterator[str]:
        tries.append(len(tries))
        if len(tries) <= times:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        yield from work(*given)

    monkeypatch.setattr(system, method, without_room)
    return tries


@pytest.mark.parametrize("name", [*NAMES, *BLIP_FAMILY])
def test_every_system_goes_down_the_ladder(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in NAMES:
        system = request.getfixturevalue("make")(name, Answering(longest=3)).system
    else:
        system = BLIP_FAMILY[name](request.getfixturevalue(name))
    shown = evidence(4)  # eight pictures in all
    tries = starved(system, NAMES.get(name, "_tell"), 3, monkeypatch)
    assert "".join(system.answer("What happens?", shown))
    assert len(tries) == 4
    tries = starved(system, NAMES.get(name, "_tell"), 9, monkeypatch)
    with pytest.raises(TooLarge, match="Not even one picture"):
        list(system.answer("What happens?", shown))
    assert len(tries) == 4


def test_a_kept_memory_that_does_not_fit_is_refused_plainly(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.parts.exhibits import shots

    system = BLIP_FAMILY["ma_lmm"](request.getfixturevalue("ma_lmm"))
    memory = system.new_memory()
    system.remember(memory, shots(evidence(1), 1)[0].pixels)
    starved(system, "_tell_from", 1, monkeypatch)
    with pytest.raises(TooLarge):
        list(system.answer_from("Who came?", memory))


def used(pid: int) -> int:
    """Private memory of a process, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmData")).split()[1])


@pytest.mark.slow
def test_a_child_without_memory_answers_about_less_and_goes_on(tmp_path: Path) -> None:
    """64 pictures want a mask of 600 MB; the process may have 250 MB more than it has when idle."""
    make_qwen2_vl(tmp_path)
    spec = ModelSpec("system", "qwen2-vl", {"folder": str(tmp_path)})
    few = Evidence((exhibit(1, 0, 4),))
    long = Evidence((replace(exhibit(1, 0, 64), pictures=exhibit(1, 0, 64).pictures),))
    with closing(RemoteSystem(process := ModelProcess(spec, PATIENT))) as system:
        assert "".join(system.answer("What happens?", few))
        pid = process.pid
        assert pid is not None
        room = used(pid) + 250 * 2**20
        resource.prlimit(pid, resource.RLIMIT_DATA, (room, room))
        assert "".join(system.answer("What happens?", long))
        assert "".join(system.answer("What happens?", few))
        assert process.pid == pid, "it was not ended and started again"

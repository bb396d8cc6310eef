"""Whether anything keeps this machine's clock right, as the kernel says."""

from __future__ import annotations

import ctypes
import struct
from typing import Any

import pytest

from ingest.clock import synchronised

KEPT, NOBODY, NOBODY_KNOWN = 0x2001, 0x40, 0x2041


class Kernel:
    """A libc whose adjtimex answers this, laid out as C does it."""

    def __init__(self, status: int, wrong_by: int, answer: int) -> None:
        self._answer, self._told = answer, struct.pack("@Illlli", 0, 0, 0, wrong_by, wrong_by, status)

    def adjtimex(self, asked: Any) -> int:
        assert asked._obj.modes == 0, "nothing may be set"
        ctypes.memmove(asked, self._told, len(self._told))
        return self._answer


@pytest.mark.parametrize(
    ("status", "wrong_by", "answer", "expected"),
    [
        (KEPT, 500_000, 0, True),
        (NOBODY, 16_000_000, 5, False),
        (NOBODY_KNOWN, 30_000, 5, True),
        (0, 0, -1, None),
    ],
    ids=["kept", "by nobody", "by one that does not say so", "not allowed to ask"],
)
def test_what_the_kernel_says(
    status: int, wrong_by: int, answer: int, expected: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Kernel(status, wrong_by, answer))
    assert synchronised() is expected


def test_where_there_is_no_such_call_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert synchronised() is None


def test_this_machine_answers_or_does_not() -> None:
    assert synchronised() in (True, False, None)

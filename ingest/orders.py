"""What a live stream's child is told while it works."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Final

from ingest.clock import Clock

_MOST: Final = 64
_WAYS: Final = 0x80
_EVERY_S: Final = 0.1
"""Asking costs a call of the kernel, which is not made for each packet."""


def pressed(filled: float) -> bytes:
    """How full the queue of its pictures is, 0..1."""
    return bytes([round(100 * filled)])


def changed(*, audio: bool, record: bool) -> bytes:
    """Whether its sound is taken in, and whether it is recorded, from now on."""
    return bytes([_WAYS | audio | record << 1])


class Orders:
    """The reading end of the child's standard input, behind its job."""

    def __init__(
        self,
        clock: Clock,
        handle: int = 0,
        *,
        audio: bool = True,
        record: bool = True,
        turn: Callable[[], None] = lambda: None,
    ) -> None:
        """`turn`: called when either of `audio` and `record` has changed."""
        self._clock, self._handle, self._turn = clock, handle, turn
        self._asked = -_EVERY_S
        self.audio, self.record = audio, record
        self.filled = 0.0
        """How full the queue of its pictures is, 0..1."""
        self.over = False
        """Whether the parent has asked for the end."""

    def end(self) -> bool:
        """Take in what the parent has said; whether it has closed the pipe, and so asks for the end."""
        now = self._clock.monotonic()
        if now - self._asked < _EVERY_S:
            return False
        self._asked = now
        while not self.over and select.select([self._handle], [], [], 0)[0]:
            said = os.read(self._handle, _MOST)
            self.over = not said
            self.hear(said)
        return self.over

    def hear(self, said: bytes) -> None:
        """Take in some words."""
        before = self.audio, self.record
        for word in said:
            if word & _WAYS:
                self.audio, self.record = bool(word & 1), bool(word & 2)
            else:
                self.filled = word / 100
        if (self.audio, self.record) != before:
            self._turn()

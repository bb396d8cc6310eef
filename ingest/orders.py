"""What a live stream's child is told while it works."""

from __future__ import annotations

import os
import select
from typing import Final

_MOST: Final = 64


class Orders:
    """The reading end of the child's standard input, behind its job."""

    def __init__(self, handle: int = 0) -> None:
        self._handle = handle
        self.filled = 0.0
        """How full the queue of its pictures is, 0..1."""

    def end(self) -> bool:
        """Take in what the parent has said; whether it has closed the pipe, and so asks for the end."""
        while select.select([self._handle], [], [], 0)[0]:
            said = os.read(self._handle, _MOST)
            if not said:
                return True
            self.filled = said[-1] / 100
        return False

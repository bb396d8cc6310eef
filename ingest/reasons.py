"""Why a stretch of a stream is a gap, and what was missed in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic, Literal, NamedTuple, Protocol, TypeVar

GapReason = Literal["offline", "stalled", "service stopped", "paused", "broken video", "clock jump", "overload",
                    "erased", "settings changed", "frozen", "dark", "cut short", "set aside", "unheard",
                    "clock put back"]  # fmt: skip

UNSEEING: Final[frozenset[GapReason]] = frozenset({"frozen", "dark"})
"""Pictures came, and showed nothing."""
PARTLY: Final[frozenset[GapReason]] = frozenset({"overload", "cut short", "set aside"})
"""Pictures came, and not all were looked at: there were too many, the service ended before, or it could not be done."""
UNHEARD: Final[frozenset[GapReason]] = frozenset({"unheard"})
"""Pictures were looked at, and not all that sounded was listened to. In all other gaps no pictures came."""
MISDATED: Final[frozenset[GapReason]] = frozenset({"clock put back"})
"""Nothing was missed, but it may have been earlier: this machine's clock was ahead."""
AWAY: Final[frozenset[GapReason]] = frozenset({"offline", "stalled", "service stopped", "paused", "clock jump",
                                               "settings changed"})  # fmt: skip
"""Nothing came: what is remembered of that time all the same, from a file or by another clock, is no part of it."""


class _Reasoned(Protocol):
    @property
    def reason(self) -> GapReason: ...


_T = TypeVar("_T", bound=_Reasoned)


class Kinds(NamedTuple, Generic[_T]):
    """Gaps by what was missed in them, each in the order in which they were given."""

    absent: list[_T]
    unseeing: list[_T]
    partly: list[_T]
    unheard: list[_T]
    misdated: list[_T]


def by_kind(gaps: Iterable[_T]) -> Kinds[_T]:
    """No pictures came, those that came showed nothing, were not all looked at, or their sound was lost, or
    their time may be wrong."""
    kinds: Kinds[_T] = Kinds([], [], [], [], [])
    for gap in gaps:
        place = next((at for at, kind in enumerate((UNSEEING, PARTLY, UNHEARD, MISDATED), 1) if gap.reason in kind), 0)
        kinds[place].append(gap)
    return kinds

"""Honest answers when there is nothing to show: what was searched, and when we were blind."""

from __future__ import annotations

from collections.abc import Sequence

from api.schemas import GapOut, SearchedOut
from api.views import Blind
from ingest.reasons import by_kind

LISTED = 3
"""Gaps told one by one; of more, the longest, and the rest is counted."""


def no_footage(searched: SearchedOut, unseen: Blind) -> str:
    """For a place that was never watched."""
    if not searched.streams:
        return "There is no stream yet, so there is no video to look in. Add one first."
    reasons = f" ({_reasons(unseen.gaps)})" if unseen.gaps else ""
    return f"There is no video of {where(searched)}{reasons}."


def not_found(searched: SearchedOut, unseen: Blind, unknown: Sequence[str]) -> str:
    """For a place that was watched, where nothing passed the threshold."""
    parts = [f"Not found in the footage of {where(searched)}."]
    if unknown:
        parts.append(f"This profile cannot look for {_listed([f'“{word}”' for word in unknown])}.")
    return " ".join([*parts, *_blindness(unseen)])


def nothing_of_note(searched: SearchedOut, unseen: Blind) -> str:
    """For an open question about a place that was watched, where nothing happened that has a name."""
    return " ".join([f"I noticed nothing in the footage of {where(searched)}.", *_blindness(unseen)])


def where(searched: SearchedOut) -> str:
    streams = _listed(searched.streams)
    return f"{streams}, {searched.span.label}" if searched.span else streams


def _blindness(unseen: Blind) -> list[str]:
    """A sentence each: when no pictures came, those that came showed nothing, were not all looked at, their sound
    was lost, or they may have been earlier, and how often besides."""
    kinds = by_kind(unseen.gaps)
    told = [f"There is no video {_gaps(kinds.absent)}."] if kinds.absent else []
    told += [f"Nothing could be seen {_gaps(kinds.unseeing)}."] if kinds.unseeing else []
    told += [f"Only part could be looked at of {_gaps(kinds.partly)}."] if kinds.partly else []
    told += [f"Not all that sounded was listened to: {_gaps(kinds.unheard)}."] if kinds.unheard else []
    told += [f"It may have been earlier than told {_gaps(kinds.misdated)}."] if kinds.misdated else []
    return told + ([f"So it was {unseen.more} more times, for less long."] if unseen.more else [])


def _gaps(gaps: Sequence[GapOut]) -> str:
    longest = sorted(gaps, key=lambda gap: gap.span.start - gap.span.end)[:LISTED]
    told = [f"{gap.span.label} ({gap.reason})" for gap in gaps if gap in longest]
    more = len(gaps) - len(told)
    return _listed(told + ([f"{more} more times"] if more else []))


def _reasons(gaps: Sequence[GapOut]) -> str:
    return _listed(list(dict.fromkeys(gap.reason for gap in gaps)))


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""

"""Bounds on what a source may cost us, and the times after which we stop waiting for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Every bound of a decoder child and of the supervisor that watches it."""

    memory_mb: int = 1024
    """Address space of a decoder child: a decompression bomb ends there."""
    cpu_s: int = 60
    """CPU-seconds without a sign of progress before the kernel kills the child."""
    max_pixels: int = 3840 * 2160 * 11 // 10
    packet_bytes: int = 64 << 20
    """A packet holds a picture or a moment of sound: as much as a raw picture of the most pixels."""
    packets_at_once: int = 20_000
    packets_per_s: int = 2_000
    """Packets of a second of time, the file's own or, of what is live, ours; a camera sends a hundred."""
    packets: int = 100_000_000
    """Packets of a file: a fortnight of video with sound."""
    open_s: float = 10.0
    """From asking for a source to its first word."""
    read_s: float = 5.0
    """libav's own patience with a silent peer."""
    silence_s: float = 30.0
    """Silence of a child that reads a file before it is taken for hung."""
    settle_s: float = 5.0
    """How long a file in a watched folder must not change before it is taken for finished."""
    stall_s: float = 3.0
    """Silence of a live picture before it counts as stalled, unless five frame intervals are longer."""
    frozen_s: float = 60.0
    """How long a live picture stays the same before it counts as frozen."""
    dark_s: float = 10.0
    """How long there is nothing to be seen in a live picture before it counts as dark."""
    backoff_first_s: float = 2.0
    backoff_most_s: float = 60.0
    connects_per_s: float = 10.0
    """Connections that all streams together begin in a second: a hundred cameras that return at once are no storm."""
    retries: int = 2
    """How often a child that died is given the same stretch of a file again before the stretch is skipped."""
    skip_s: float = 2.0
    """How much of a file is skipped behind a picture that kills its decoder."""

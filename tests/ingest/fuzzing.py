"""Files and streams made wrong on purpose, thousands of them: a sample in test_hostile.py, or all by hand:

    python -m tests.ingest.fuzzing 2000 [SEED]

Every case is a spoiled example of one row of `corpus.FEEDS`: a container, a playlist, what a camera says, a picture.
Each is read as the product does, in children of this process that take a hundred cases each and are bounded like
decoders. A child that is killed (a crash) and a case that takes too long (a hang) are counted by the parent. Prints
how it went; the exit status is 0 when nothing crashed or hung and every error was one of ours, with advice.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from unittest.mock import patch

from ingest import decode
from ingest.child import _ENVIRONMENT, source_details
from ingest.guard import Guard
from ingest.limits import Limits
from ingest.sources import SourceSpec
from tests.ingest.corpus import FEEDS, LIMITS, MISSING, PATIENT, Place, read_source, seeds

HANG_S = 30.0
PER_CHILD = 100
CODES = {
    "read", "not-video", "broken-video", "too-large", "source-refused", "source-unavailable", "deadline-exceeded",
    "not-found", "unauthorised", "invalid", "bad-message", "unreachable",
}  # fmt: skip
"""What may come of a case; "crash" and "hang" may not."""
KNOWN = CODES | {MISSING}
_NUMBER = re.compile(rb"\d+")


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Flip, cut, repeat, splice, overwrite with numbers that are too large: what fuzzers do."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 30) if len(data) > 2000 else chance.randint(1, 4)):
        at = chance.randrange(len(out))
        match chance.randrange(7):
            case 0:
                out[at] ^= 1 << chance.randrange(8)
            case 1:
                out[at : at + 4] = chance.choice([b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff"])
            case 2:
                del out[at : at + chance.randrange(1, 200)]
            case 3:
                out[at:at] = out[max(0, at - 50) : at]
            case 4:
                other = chance.randrange(len(out))
                out[at:at] = out[other : other + chance.randrange(1, 200)]
            case 5 if (number := _NUMBER.search(out, at)) is not None:
                out[slice(*number.span())] = chance.choice([b"-1", b"0", b"99999999999999999999", b"1e9", b""])
            case _:
                out[at : at + 20] = chance.randbytes(20)
        if len(out) < 16:
            break
    return bytes(out[: chance.randrange(16, len(out) + 1)] if chance.random() < 0.2 and len(out) > 16 else out)


def read_through(path: Path) -> str:
    """Read a file as a decoder child does, in this process; what came of it."""
    return read_source(source_details(SourceSpec("file", "file", str(path)), Guard([])))


def case(number: int, seed: int | None, folder: Path, place: Place) -> str:
    """The outcome of the case of that number: the same for the same seed, and without one that of the sound example."""
    name, feed = FEEDS[number % len(FEEDS)]
    sound = folder / f"seed.{name}"
    if not sound.exists() or not (body := sound.read_bytes()):
        return MISSING
    return feed(body if seed is None else mutated(body, random.Random(f"{seed}/{number}")), place)


def work(pipe: Connection, numbers: range, seed: int | None, folder: Path) -> None:
    """A child: bounded like a decoder, it says what came of each case."""
    orders, _ = os.pipe()
    os.dup2(orders, 0)  # a live stream is told to end when nobody gives it orders any more
    decode._confine(Limits())
    own = Path(tempfile.mkdtemp(dir=folder))
    place = Place(own, PATIENT if seed is None else LIMITS)
    for number in numbers:
        pipe.send((number, case(number, seed, folder, place)))
        decode._allow_cpu(Limits().cpu_s)


def fuzz(count: int, seed: int | None, folder: Path) -> Counter[str]:
    """Outcomes of `count` cases: codes of errors, "read", "crash", "hang"."""
    seeds(folder)
    context = multiprocessing.get_context("spawn")
    outcomes: Counter[str] = Counter()
    at = 0
    while at < count:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=work, args=(theirs, range(at, min(count, at + PER_CHILD)), seed, folder))
        with patch.dict(os.environ, _ENVIRONMENT):  # or each thread takes address space of its own until there is none
            child.start()
        theirs.close()
        first, at = at, min(count, at + PER_CHILD)
        done = first - 1
        while done < at - 1:
            try:
                if not ours.poll(HANG_S):
                    raise TimeoutError
                done, outcome = ours.recv()
            except (EOFError, TimeoutError) as error:
                outcome = "hang" if isinstance(error, TimeoutError) else "crash"
                sys.stdout.write(f"case {done + 1} of seed {seed} ({FEEDS[(done + 1) % len(FEEDS)][0]}): {outcome}\n")
                at = done + 2
                outcomes[outcome] += 1
                break
            outcomes[outcome] += 1
            if outcome not in KNOWN:
                sys.stdout.write(f"case {done} of seed {seed} ({FEEDS[done % len(FEEDS)][0]}): {outcome}\n")
        child.kill()
        child.join()
        ours.close()
    return outcomes


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as folder:
        outcomes = fuzz(count, seed, Path(folder))
    told = ", ".join(f"{name} {number}" for name, number in outcomes.most_common())
    sys.stdout.write(f"{outcomes.total()} cases of seed {seed} in {time.monotonic() - begun:.0f} s: {told}\n")
    sys.exit(bool(set(outcomes) - KNOWN))


if __name__ == "__main__":
    main()

"""Every annotated clip through the real service: what is found beside what a person saw.

Run `python -m benchmarks.footage [FOLDER] [--json FILE]`. FOLDER holds clips and `annotations.json`; without it the
clips beside the repository (`../shared/footage`) are used when they are there. For each event the predicted spans with
recall and precision at temporal IoU 0.3 and 0.5; for each absent description whether anything was claimed; for each
question the answer beside the reference.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

Seconds = tuple[float, float]


@dataclass
class Tally:
    """Sums over all clips."""

    events: int = 0
    recall: dict[float, list[float]] = field(default_factory=lambda: {0.3: [], 0.5: []})
    precision: dict[float, list[float]] = field(default_factory=lambda: {0.3: [], 0.5: []})
    absent: int = 0
    claimed: int = 0
    questions: int = 0
    answered: int = 0


def iou(a: Seconds, b: Seconds) -> float:
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return shared / (max(a[1], b[1]) - min(a[0], b[0])) if shared else 0.0


def matched(some: Sequence[Seconds], others: Sequence[Seconds], least: float) -> float:
    """Share of `some` that overlap one of `others` by at least `least`; 0 when there is nothing."""
    return sum(any(iou(a, b) >= least for b in others) for a in some) / len(some) if some else 0.0


@contextmanager
def service(folder: Path, clips: Path) -> Iterator[httpx.Client]:
    """The real service on a free port of this machine, with its own empty memory."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "HINDSIGHT_DATA": str(folder),
        "HINDSIGHT_PORT": str(port),
        "HINDSIGHT_ROOTS": json.dumps([str(clips)]),
    }
    command = [sys.executable, "-P", "-m", "api.cli", "serve"]
    with (
        (folder / "service.log").open("w") as log,
        subprocess.Popen(command, env=environment, stderr=log, stdout=log) as process,
    ):
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120)
        try:
            for _ in range(300):
                try:
                    client.get("/v1/health")
                    break
                except httpx.TransportError:
                    if process.poll() is not None:
                        raise SystemExit((folder / "service.log").read_text()) from None
                    time.sleep(0.2)
            yield client
        finally:
            client.close()
            process.terminate()


def ingest(client: httpx.Client, clip: Path) -> tuple[str, float]:
    """Add a clip and wait until it is remembered to its end: its stream and the seconds that took."""
    started = time.monotonic()
    reply = client.post(
        "/v1/streams", json={"name": clip.stem, "source": str(clip), "starts_at": "2026-01-01T00:00:00Z"}
    )
    reply.raise_for_status()
    stream = reply.json()["id"]
    while True:
        state = client.get(f"/v1/streams/{stream}").json()
        if state["state"] == "finished":
            return stream, time.monotonic() - started
        if state["state"] == "failed" or time.monotonic() - started > 1800:
            raise SystemExit(f"{clip.name}: {state['state']}: {state['detail']}")
        time.sleep(0.5)


def find(client: httpx.Client, stream: str, text: str) -> tuple[list[Seconds], dict[str, Any]]:
    reply = client.post("/v1/find", json={"event": text, "streams": [stream]})
    reply.raise_for_status()
    result = reply.json()
    return [(hit["span"]["start_offset_s"], hit["span"]["end_offset_s"]) for hit in result["hits"]], result


def ask(client: httpx.Client, stream: str, question: str) -> dict[str, Any]:
    """The structured answer at the end of the event stream."""
    with client.stream("POST", "/v1/ask", json={"question": question, "streams": [stream]}) as reply:
        reply.raise_for_status()
        event = ""
        for line in reply.iter_lines():
            if line.startswith("event:"):
                event = line.removeprefix("event:").strip()
            elif line.startswith("data:") and event in ("answer", "problem"):
                answer: dict[str, Any] = json.loads(line.removeprefix("data:"))
                return answer
    raise SystemExit("the answer broke off")


def says(text: str, reference: str) -> bool:
    """The reference's words stand in the text; times of day and citations do not count as numbers."""
    plain = re.sub(r"\[\d+\]|[\d:.]*\d:[\d:.]+", " ", text.lower())
    words = {"1": "(1|one|once)", "2": "(2|two|twice)", "3": "(3|three)", "4": "(4|four)"}
    return re.search(rf"\b{words.get(reference, re.escape(reference.lower()))}\b", plain) is not None


def spans_text(spans: Sequence[Seconds]) -> str:
    return ", ".join(f"{start:.1f}–{end:.1f}" for start, end in sorted(spans)) or "—"


def examine(client: httpx.Client, clip: dict[str, Any], folder: Path, tally: Tally) -> dict[str, Any]:
    """One clip's rows, printed as markdown and added to the tally."""
    stream, took = ingest(client, folder / clip["file"])
    print(f"\n### {clip['file']} ({clip['duration']} s, ingested in {took:.1f} s)\n")
    print("| event | a person saw | found | recall .3 / .5 | precision .3 / .5 |\n|---|---|---|---|---|")
    rows: dict[str, Any] = {"file": clip["file"], "seconds": took, "events": [], "absent": [], "questions": []}
    for event in clip["events"]:
        truth = [(float(start), float(end)) for start, end in event["spans"]]
        found, result = find(client, stream, event["text"])
        tally.events += 1
        scores = {}
        for least in (0.3, 0.5):
            scores[least] = matched(truth, found, least), matched(found, truth, least)
            tally.recall[least].append(scores[least][0])
            if found:
                tally.precision[least].append(scores[least][1])
        unknown = f" (cannot look for: {', '.join(result['unknown'])})" if result["unknown"] else ""
        print(
            f"| {event['text']} | {spans_text(truth)} | {spans_text(found)}{unknown} "
            f"| {scores[0.3][0]:.2f} / {scores[0.5][0]:.2f} | {scores[0.3][1]:.2f} / {scores[0.5][1]:.2f} |"
        )
        rows["events"].append({"text": event["text"], "found": found, "unknown": result["unknown"]})
    for text in clip["absent"]:
        found, _ = find(client, stream, text)
        tally.absent += 1
        tally.claimed += bool(found)
        print(f"| *absent:* {text} | — | {spans_text(found)} | | {'**claimed**' if found else 'nothing claimed'} |")
        rows["absent"].append({"text": text, "found": found})
    for question in clip["questions"]:
        answer = ask(client, stream, question["q"])
        tally.questions += 1
        tally.answered += says(answer["text"], question["a"])
        print(f"\n- **{question['q']}** *{question['a']}* → {answer['text']}")
        rows["questions"].append({"question": question["q"], "reference": question["a"], "answer": answer["text"]})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parents[2] / "shared" / "footage")
    parser.add_argument("--json", type=Path, help="also write everything there")
    options = parser.parse_args()
    if not (options.folder / "annotations.json").exists():
        print(f"no annotations.json in {options.folder}: nothing to measure")
        return
    clips = json.loads((options.folder / "annotations.json").read_text())["clips"]
    tally = Tally()
    with tempfile.TemporaryDirectory() as data, service(Path(data), options.folder.resolve()) as client:
        rows = [examine(client, clip, options.folder.resolve(), tally) for clip in clips]

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values) if values else 0.0

    print("\n### In all\n\n| | IoU 0.3 | IoU 0.5 |\n|---|---|---|")
    print(f"| mean recall of {tally.events} events | {mean(tally.recall[0.3]):.2f} | {mean(tally.recall[0.5]):.2f} |")
    print(
        f"| mean precision of the {len(tally.precision[0.3])} that claimed anything "
        f"| {mean(tally.precision[0.3]):.2f} | {mean(tally.precision[0.5]):.2f} |"
    )
    print(f"\nNothing claimed for {tally.absent - tally.claimed} of {tally.absent} absent descriptions.")
    print(f"The reference answer's words are in {tally.answered} of {tally.questions} answers.")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

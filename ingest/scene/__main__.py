"""`python -m ingest.scene OUT.mp4`: write the demonstration film; with --truth, print what is true in it as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from ingest.scene import render, truth


def main() -> int:
    """The exit status: 2 when there is no such folder."""
    parser = argparse.ArgumentParser(prog="python -m ingest.scene", description="Render the demonstration film.")
    parser.add_argument("out", type=Path, help="where to write the MP4")
    parser.add_argument("--seed", type=int, default=0, help="varies sky, textures and grain, never what happens")
    parser.add_argument("--truth", action="store_true", help="print what is true in the film as JSON, render nothing")
    wanted = parser.parse_args()
    if wanted.truth:
        sys.stdout.write(json.dumps(asdict(truth()), indent=1, ensure_ascii=False) + "\n")
        return 0
    if not wanted.out.parent.is_dir():
        sys.stderr.write(f"The folder {wanted.out.parent} does not exist. Create it first or choose another.\n")
        return 2
    render(wanted.out, seed=wanted.seed, progress=_show)
    return 0


def _show(done: float) -> None:
    sys.stderr.write(f"\rrendering {done:4.0%}" + ("\n" if done >= 1 else ""))


if __name__ == "__main__":
    sys.exit(main())

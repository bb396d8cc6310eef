"""Fetching a system's published files from the model hub into its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ingest.errors import SourceUnavailable, Unauthorised
from models.systems.catalogue import Entry, Part


def pull(entry: Entry, folder: Path, tell: Callable[[str], None]) -> list[Part]:
    """Fetch into `folder` what it lacks and the hub has; the parts a person has to get are returned.

    What is there already is kept, what was half fetched goes on. Raises `SourceUnavailable`, `Unauthorised`.
    """
    lacking = [part for part in entry.parts if part.missing(folder)]
    for part in lacking:
        if part.hub:
            tell(f"{part.about}: {part.hub}")
            _fetch(part, folder)
    return [part for part in lacking if not part.hub]


def _fetch(part: Part, folder: Path) -> None:
    from httpx import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError

    place = folder / part.into
    try:
        snapshot_download(part.hub, local_dir=place, allow_patterns=list(part.take))
    except GatedRepoError as error:
        raise Unauthorised(
            f"{part.hub} is given only to those who accepted its licence.",
            advice="Accept it on the hub with an account, then log in with `hf auth login`.",
        ) from error
    except (OSError, HTTPError) as error:
        raise SourceUnavailable(
            f"{part.hub} could not be fetched ({type(error).__name__}).",
            advice=f"Check the network, or copy its files into {place} from another machine.",
        ) from error
    for nested in part.take:
        if "/" in nested and (place / nested).exists():
            (place / nested).rename(place / Path(nested).name)
    if missing := part.missing(folder):
        raise SourceUnavailable(
            f"{part.hub} has no longer {', '.join(missing)}.", advice="Its authors' page may say where it went."
        )

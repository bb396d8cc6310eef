"""models list · show · check · pull · serve: the video-language systems, what they need, and whether they work here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import output
from api.cli.options import Json
from api.cli.serve import Data, Host, Port

if TYPE_CHECKING:
    from api.settings import Settings
    from models.systems.catalogue import Entry

app = typer.Typer(help="Video-language systems that can write the answers.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="As `hindsight models list` names it.")]
Folder = Annotated[Path | None, typer.Option(help="Folder of its files; models/NAME in the data folder if not given.")]
Dtype = Annotated[str | None, typer.Option(help="Its numbers: auto, float32, bfloat16, float16; int8 or nf4.")]

TRANSFORMERS = "transformers"
"""Not one system but whatever image-text-to-text folder it is given."""


@app.command("list")
def list_(json: Json = False) -> None:
    """The systems: what they are, how large, the GPU they need in 16 bit, and which are complete on this machine."""
    from api import settings
    from models.systems.catalogue import CATALOGUE

    found = settings.load()
    known = [_summary(entry, found) for entry in CATALOGUE.values()]
    if json:
        output.as_json(known)
        return
    rows = [
        (one["name"], one["about"], f"{one['parameters'] / 1e9:.1f}", one["gpu"], "" if one["missing"] else "complete")
        for one in known
    ]
    rows.append((TRANSFORMERS, "any image-text-to-text folder of transformers", "", "", ""))
    output.table(("name", "", "10⁹ parameters", "GPU", "here"), rows)


@app.command()
def show(name: Name, folder: Folder = None, json: Json = False) -> None:
    """What a system needs: files by their official names, where to get them, memory, licence; and what is missing."""
    from api import settings
    from models.systems.catalogue import entry

    _published(name)
    known = entry(name)
    place = settings.load(system_folder=folder).folder_of(name)
    if json:
        output.as_json(_summary(known, settings.load(system_folder=folder)) | {"parts": _parts(known, place)})
        return
    output.say(f"{name}: {known.about} ({known.paper})")
    output.say(f"licence   {known.licence}; the authors' pages decide")
    size = known.bytes / 1e9
    output.say(f"memory    {size:.0f} GB in 16 bit on a GPU of {known.gpu}, {2 * size:.0f} GB in float32 on a CPU")
    output.say(f"folder    {place}: {'incomplete' if known.missing(place) else 'complete'}")
    for part in _parts(known, place):
        output.say(f"{'✗' if part['missing'] else '✓'} {part['about']}: {', '.join(part['needs'])}")
        output.say(f"  from {part['source']}")


@app.command()
def check(name: Name, folder: Folder = None, dtype: Dtype = None, json: Json = False) -> None:
    """Load a system, show it one frame, let it say one token; its files with their SHA-256."""
    from contextlib import closing

    from api import settings
    from api.profile import local_system

    chosen = settings.load(system=name, system_folder=folder, system_dtype=dtype)
    _known(name)
    with output.working(f"loading {name}"), closing(local_system(name, chosen, {})) as system:
        said = system.check()
        files = system.files
    if json:
        output.as_json({"name": name, "check": said, "files": [{"name": n, "sha256": digest} for n, digest in files]})
        return
    for file, digest in files:
        output.say(f"{digest}  {file}")
    output.say(f"✓ {name}: {said}")


@app.command()
def pull(name: Name, folder: Folder = None, json: Json = False) -> None:
    """Fetch what is missing from the model hub, and say what has to be fetched by hand. Exit code 1 if that remains."""
    from api import settings
    from models.systems.catalogue import entry
    from models.systems.pulling import pull as fetch

    _published(name)
    known = entry(name)
    place = settings.load(system_folder=folder).folder_of(name)
    place.mkdir(parents=True, exist_ok=True)
    by_hand = fetch(known, place, (lambda _about: None) if json else output.say)
    if json:
        pages = [{"files": list(part.needs), "page": part.page, "optional": part.optional} for part in by_hand]
        output.as_json({"folder": str(place), "missing": list(known.missing(place)), "by_hand": pages})
        raise typer.Exit(1 if known.missing(place) else 0)
    for part in by_hand:
        output.say(f"By hand{', if wanted' if part.optional else ''}: {', '.join(part.needs)} from {part.page}")
    output.say(f"{place}: {_state(known.missing(place))}")
    raise typer.Exit(1 if known.missing(place) else 0)


@app.command("serve")
def serve_(
    name: Name,
    folder: Folder = None,
    dtype: Dtype = None,
    data: Data = None,
    host: Host = None,
    port: Port = None,
) -> None:
    """Run the service with this system writing the answers, until Ctrl-C."""
    from api import server, settings

    _known(name)
    place = {"system": name, "system_folder": folder, "system_dtype": dtype}
    found = settings.load(data=data, host=host, port=port, **place)
    server.serve(found, lambda address: output.say(f"Hindsight with {name} is at {address}  (Ctrl-C stops it)"))


def _known(name: str) -> None:
    """Raises `NotFound` before anything is started."""
    from models.systems.catalogue import entry

    if name != TRANSFORMERS:
        entry(name)


def _published(name: str) -> None:
    """Raises `Invalid` for what is no system with files of its own."""
    from ingest.errors import Invalid

    if name == TRANSFORMERS:
        raise Invalid(
            "This is any image-text-to-text folder of transformers: what it needs is what its page says.",
            advice="Fetch one, and try it with `hindsight models check transformers --folder FOLDER`.",
        )


def _state(missing: list[str]) -> str:
    return f"lacks {', '.join(missing)}" if missing else "complete"


def _summary(entry: Entry, settings: Settings) -> dict[str, Any]:
    folder = settings.folder_of(entry.name)
    return {
        "name": entry.name,
        "about": entry.about,
        "paper": entry.paper,
        "licence": entry.licence,
        "parameters": entry.parameters,
        "bytes": entry.bytes,
        "gpu": entry.gpu,
        "folder": str(folder),
        "missing": entry.missing(folder),
    }


def _parts(entry: Entry, folder: Path) -> list[dict[str, Any]]:
    return [
        {
            "about": part.about + (" (optional)" if part.optional else ""),
            "needs": list(part.needs),
            "source": part.hub or part.page,
            "missing": part.missing(folder),
        }
        for part in entry.parts
    ]

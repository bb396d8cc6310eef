"""What linters cannot see: sizes, names, who may read the clock, the environment and the network."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("ingest", "memory", "models", "api")
HEAVY = ("torch", "transformers", "faiss", "av", "faust", "cv2", "onnxruntime", "rapidocr", "pocketsphinx")

BROAD_EXCEPTS = 8
"""Each stands at a named border (a stage, a child process, a route, a webhook) and says why."""


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sources():
        yield path, ast.parse(path.read_text())


def lines(path: Path) -> int:
    return path.read_text().count("\n")


def test_files_are_short() -> None:
    sizes = {str(path.relative_to(ROOT)): lines(path) for path in sources() if lines(path) > 1}
    assert {name: size for name, size in sizes.items() if size > 500} == {}
    assert median(sizes.values()) <= 170


def test_functions_can_be_seen_at_once() -> None:
    long = {
        f"{path.relative_to(ROOT)}:{node.name}": size
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (size := (node.end_lineno or node.lineno) - node.lineno + 1) > 80
    }
    assert long == {}


def test_extras_are_installed_from_our_own_folder() -> None:
    """The package index has a `hindsight` that is someone else's."""
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    assert [path.name for path in [*documents, *sources()] if "hindsight[" in path.read_text()] == []


def test_benchmarks_are_there_and_say_how_they_are_run() -> None:
    """As modules: a script's own folder stands before the packages."""
    there = {
        path.stem: ast.get_docstring(ast.parse(path.read_text())) or "" for path in (ROOT / "benchmarks").glob("*.py")
    }
    assert [name for name, told in there.items() if f"python -m benchmarks.{name}" not in told] == []
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "models").rglob("*.md")]
    named = {name for path in documents for name in re.findall(r"\bbenchmarks[./](\w+)", path.read_text())}
    assert named - set(there) == set()


def test_no_drawer_for_odds_and_ends() -> None:
    odd = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert [
        path for path in sources() if odd & {part.removesuffix(".py") for part in path.relative_to(ROOT).parts}
    ] == []


def test_protocols_have_few_verbs() -> None:
    fat = {
        f"{path.relative_to(ROOT)}:{node.name}": verbs
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base).startswith("Protocol") for base in node.bases)
        if len(verbs := [item.name for item in node.body if isinstance(item, ast.FunctionDef)]) > 5
    }
    assert fat == {}


def test_whoever_captures_in_a_test_checks_the_account_of_every_frame() -> None:
    """Whoever starts a fleet or a service, here or in a process of its own; in two tests none of them gets as far."""
    begins = re.compile(r"\b(Fleet|Service)\(|\"serve\"\]|\"models\", \"serve\"")
    checked = re.compile(r"assert_(left_)?conserved\(|assert counts.in_flight == 0|\bpaused\(")
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    begun = {path.relative_to(ROOT / "tests").as_posix(): path.read_text() for path in tests}
    unchecked = {name for name, text in begun.items() if begins.search(text) and not checked.search(text)}
    assert unchecked == {"api/test_postgres.py", "api/test_profile.py"}


def test_broad_excepts_stay_at_borders() -> None:
    """Tidying up and raising again swallows nothing, so it does not count."""
    broad = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")))
        and ast.unparse(node.body[-1]) != "raise"
    ]
    assert len(broad) <= BROAD_EXCEPTS, broad


def calls(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)


@pytest.mark.parametrize(
    ("names", "room"),
    [
        (
            {"time.time", "time.time_ns", "time.monotonic", "datetime.now", "datetime.utcnow", "date.today"},
            "ingest/clock.py",
        ),
        ({"os.environ", "os.getenv"}, "api/settings.py"),
    ],
)
def test_one_reader_of_the_outside(names: set[str], room: str) -> None:
    strays = {
        str(path.relative_to(ROOT)): found
        for path, tree in trees()
        if str(path.relative_to(ROOT)) != room and (found := names & set(calls(tree)))
    }
    assert strays == {}


def test_nothing_executes_what_it_reads() -> None:
    """Unpickling runs code; the loader of checkpoints may name the module's errors, nobody may load with it."""
    loaders = {f"{module}.{verb}" for module in ("pickle", "dill", "joblib", "marshal") for verb in ("load", "loads")}
    strays = {str(path.relative_to(ROOT)): found for path, tree in trees() if (found := loaders & set(calls(tree)))}
    assert strays == {}
    torch_loads = [path for path, tree in trees() if "torch.load" in set(calls(tree))]
    assert torch_loads == [ROOT / "models" / "weights.py"]


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_is_quick(package: str) -> None:
    code = f"import sys, {package}; print(','.join(sorted(set({HEAVY!r}) & set(sys.modules))))"
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == ""


def test_the_command_line_starts_without_heavy_libraries() -> None:
    code = f"import sys, api.cli; print(','.join(sorted(set({HEAVY!r}) & set(sys.modules))))"
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == ""


def test_every_public_name_is_documented() -> None:
    """Public classes say what they are; functions of a line or two may speak for themselves."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.name}"
        for path, tree in trees()
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
        and (node.end_lineno or 0) - node.lineno > 12
    ]
    assert silent == []


def test_modules_say_what_they_are() -> None:
    silent = [str(path.relative_to(ROOT)) for path, tree in trees() if tree.body and not ast.get_docstring(tree)]
    assert silent == []

"""The rings of docs/architecture.md, held by reading the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for top in ("app", "workers") for path in (ROOT / top).rglob("*.py"))
PICKLE_READERS = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def names(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return [node.module or ""]
    return []


def modules(path: Path, *, top_level: bool = False) -> set[str]:
    nodes = tree(path).body if top_level else ast.walk(tree(path))
    return {name for node in nodes for name in imported(node)}


def calls(path: Path, attribute: str) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == attribute
    ]


def below(path: Path, *folders: str) -> bool:
    return any(path.is_relative_to(ROOT / folder) for folder in folders)


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 60


@pytest.mark.parametrize("path", [p for p in SOURCES if below(p, "app/numerics")], ids=names)
def test_numerics_import_nothing_of_ours(path: Path) -> None:
    ours = {m for m in modules(path) if m.split(".")[0] in {"app", "workers"} and not m.startswith("app.numerics")}
    assert not ours


@pytest.mark.parametrize("path", [p for p in SOURCES if below(p, "app")], ids=names)
def test_app_never_imports_workers(path: Path) -> None:
    assert not {m for m in modules(path) if m.split(".")[0] == "workers"}


@pytest.mark.parametrize("path", [p for p in SOURCES if below(p, "app/web", "app/services", "app/store")], ids=names)
def test_the_web_and_what_it_calls_import_no_torch(path: Path) -> None:
    heavy = {"torch", "torchvision", "timm", "open_clip", "onnxruntime", "sklearn"}
    assert not {m.split(".")[0] for m in modules(path)} & heavy


@pytest.mark.parametrize(
    "path",
    [
        p
        for p in SOURCES
        if p.parent.parent == ROOT / "app/audits" and p.name.startswith(("__init__", "schema", "page"))
    ],
    ids=names,
)
def test_what_pages_read_of_a_kind_imports_no_torch(path: Path) -> None:
    assert not {m for m in modules(path) if m.split(".")[0] == "torch" or m.startswith("app.numerics")}


@pytest.mark.parametrize("path", SOURCES, ids=names)
def test_commits_only_at_the_edge(path: Path) -> None:
    allowed = {"app/store/session.py"}
    assert names(path) in allowed or not calls(path, "commit")


@pytest.mark.parametrize("path", [p for p in SOURCES if not below(p, "app/store")], ids=names)
def test_sql_only_in_the_store(path: Path) -> None:
    statements = {"select", "insert", "update", "delete", "text"}
    found = {
        alias.name
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and node.module == "sqlalchemy"
        for alias in node.names
    }
    assert not found & statements


@pytest.mark.parametrize("path", SOURCES, ids=names)
def test_no_pickle_reader_is_imported(path: Path) -> None:
    assert not {m.split(".")[0] for m in modules(path)} & PICKLE_READERS


@pytest.mark.parametrize("path", SOURCES, ids=names)
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", SOURCES, ids=names)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree(path))

"""The rings of docs/architecture.md, held by reading the source."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for top in ("app", "workers") for path in (ROOT / top).rglob("*.py"))
PICKLE_READERS = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree(path)))


def names(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return [node.module or ""]
    return []


def modules(path: Path, *, top_level: bool = False) -> set[str]:
    found = tree(path).body if top_level else nodes(path)
    return {name for node in found for name in imported(node)}


def calls(path: Path, attribute: str) -> list[int]:
    return [
        node.lineno
        for node in nodes(path)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == attribute
    ]


def below(path: Path, *folders: str) -> bool:
    return any(path.is_relative_to(ROOT / folder) for folder in folders)


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 60


def offenders(paths: Iterable[Path], wrong: Callable[[Path], object]) -> dict[str, object]:
    """Files in which something is wrong, with what it is: a rule is one test, for thousands would take longer."""
    return {names(path): found for path in paths if (found := wrong(path))}


def test_numerics_import_nothing_of_ours() -> None:
    def ours(path: Path) -> set[str]:
        return {m for m in modules(path) if m.split(".")[0] in {"app", "workers"} and not m.startswith("app.numerics")}

    assert offenders((p for p in SOURCES if below(p, "app/numerics")), ours) == {}


def test_app_never_imports_workers() -> None:
    def workers(path: Path) -> set[str]:
        return {m for m in modules(path) if m.split(".")[0] == "workers"}

    assert offenders((p for p in SOURCES if below(p, "app")), workers) == {}


def test_the_web_and_what_it_calls_import_no_torch() -> None:
    heavy = {"torch", "torchvision", "timm", "open_clip", "onnxruntime", "sklearn"}
    light = [p for p in SOURCES if below(p, "app/web", "app/services", "app/store")]
    assert offenders(light, lambda path: {m.split(".")[0] for m in modules(path)} & heavy) == {}


def test_what_pages_read_of_a_kind_imports_no_torch() -> None:
    def maths(path: Path) -> set[str]:
        return {m for m in modules(path) if m.split(".")[0] == "torch" or m.startswith("app.numerics")}

    read = [p for p in SOURCES if p.parent.parent == ROOT / "app/audits"]
    assert offenders((p for p in read if p.name.startswith(("__init__", "schema", "page"))), maths) == {}


def test_commits_only_at_the_edge() -> None:
    allowed = ROOT / "app/store/session.py"
    assert offenders((p for p in SOURCES if p != allowed), lambda path: calls(path, "commit")) == {}


def test_sql_only_in_the_store() -> None:
    statements = {"select", "insert", "update", "delete", "text"}

    def stated(path: Path) -> set[str]:
        imports = (node for node in nodes(path) if isinstance(node, ast.ImportFrom) and node.module == "sqlalchemy")
        return {alias.name for node in imports for alias in node.names} & statements

    assert offenders((p for p in SOURCES if not below(p, "app/store")), stated) == {}


def test_no_pickle_reader_is_imported() -> None:
    assert offenders(SOURCES, lambda path: {m.split(".")[0] for m in modules(path)} & PICKLE_READERS) == {}


def test_files_stay_small() -> None:
    assert offenders(SOURCES, lambda path: max(len(path.read_text().splitlines()) - 400, 0)) == {}


def test_every_module_says_what_it_is() -> None:
    assert offenders(SOURCES, lambda path: not ast.get_docstring(tree(path))) == {}


def test_a_rule_finds_what_breaks_it(tmp_path: Path) -> None:
    file = ROOT / "app" / "__init__.py"
    assert offenders([file], names) == {"app/__init__.py": "app/__init__.py"}
    assert offenders([file], lambda _path: set()) == {}
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import pickle\nfrom sqlalchemy import select\n\nsession.commit()\n")
    assert modules(wrong) & PICKLE_READERS
    assert "sqlalchemy" in modules(wrong)
    assert calls(wrong, "commit") == [4]

"""Each page's context is documented, is what its template uses, and is what its JSON twin gives."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from jinja2 import meta, nodes
from pydantic import BaseModel

from app.main import all_pages, create_app
from app.web.templating import environment
from app.web.twins import API, Page

AROUND = {"user", "csrf_token", "csrf_input", "theme", "path"}
PAGES = all_pages()


def _needed(template: str) -> tuple[set[str], set[str]]:
    """Return the names that a template and its frames take from their context, and those that they make themselves.

    Jinja counts what is imported at the top as undeclared inside blocks.
    """
    source, _, _ = environment().loader.get_source(environment(), template)
    tree = environment().parse(source)
    made = {name if isinstance(name, str) else name[1] for n in tree.find_all(nodes.FromImport) for name in n.names}
    made |= {node.name for node in tree.find_all(nodes.Macro)}
    made |= {name.name for name in tree.find_all(nodes.Name) if name.ctx in {"store", "param"}}
    used = meta.find_undeclared_variables(tree)
    for frame in tree.find_all(nodes.Extends):
        above_used, above_made = _needed(frame.template.value)
        used, made = used | above_used, made | above_made
    return used, made


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_the_template_uses_documented_fields_only(page: Page) -> None:
    known = set(page.context.model_fields) | set(page.context.model_computed_fields)
    needed, made = _needed(page.template)
    used = needed - made - AROUND - set(environment().globals)
    assert used <= known, f"{page.template} uses {sorted(used - known)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_pages_and_contexts_have_docstrings(page: Page) -> None:
    assert page.function.__doc__
    for model in _models_in(page.context, set()):
        assert model.__doc__, model


def _models_in(model: type[BaseModel], seen: set[type[BaseModel]]) -> set[type[BaseModel]]:
    if model not in seen:
        seen.add(model)
        for info in model.model_fields.values():
            for part in [info.annotation, *getattr(info.annotation, "__args__", ())]:
                if isinstance(part, type) and issubclass(part, BaseModel):
                    _models_in(part, seen)
    return seen


def test_openapi_describes_every_twin(installation) -> None:
    paths = create_app().openapi()["paths"]
    for page in PAGES:
        twin = API + ("/home" if page.path == "/" else page.path.replace(":int", ""))
        assert "get" in paths[twin], twin
        schema = paths[twin]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert schema["$ref"].endswith(page.context.__name__)


def test_the_openapi_document_is_served_to_anybody(client: TestClient) -> None:
    document = client.get(f"{API}/openapi.json")
    assert document.status_code == 200
    assert document.json()["info"]["title"] == "Faultline"

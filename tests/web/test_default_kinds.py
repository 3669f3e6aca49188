"""An audit that names no kinds gets those that cost little; the form comes with the same choice."""

from __future__ import annotations

from app.audits import kinds
from app.services.request_audit import RunRequest, request_audit
from app.store.models import ModelVersion
from app.store.session import transaction
from tests.results_rows import CLASSES
from tests.web.conftest import Results


def test_no_kinds_means_the_cheap_ones(results: Results) -> None:
    with transaction() as session:
        version = session.get_one(ModelVersion, results.built.version_id)
        version.spec = {"format": "safetensors", "architecture": "cifar_resnet20", "classes": list(CLASSES)}
        request = RunRequest(model_version_id=version.id, dataset_id=results.built.dataset_id, split="val", seed=3)
        run = request_audit(session, results.built.project_id, None, request)
        named = request_audit(
            session, results.built.project_id, None, request.model_copy(update={"kinds": ["influence"], "seed": 4})
        )
        assert run.kinds == [name for name in sorted(kinds()) if kinds()[name].by_default] == ["slices"]
        assert named.kinds == ["influence"]


def test_form_comes_with_the_same_choice(results: Results) -> None:
    page = results.signed().get("/api/v1/audits/new").json()
    shown = [kind for section in page["sections"] for kind in section["kinds"]]
    assert {kind["name"]: kind["by_default"] for kind in shown} == {
        name: kind.by_default for name, kind in kinds().items()
    }
    html = results.signed().get("/audits/new").text
    assert 'name="kinds" value="slices" checked' in html
    assert 'name="kinds" value="influence">' in html

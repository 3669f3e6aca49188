"""Membership is checked on every address: the routes are read from the application, so that a new one is asked too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from sqlalchemy import select

from app.main import page_modules
from app.services.reports.snapshot import read_report
from app.store.models import AuditRun, ModelVersion, Report, ShareLink
from app.store.session import reading, transaction
from app.web import assets, docs
from tests.factories import Signed
from tests.web.conftest import Results
from tests.web.corruptions import add_corruptions
from tests.web.influence import add_influence

OPEN = {
    "/static/{version}/{path}",
    "/api/v1/docs",
    "/api/v1/schemas/report.json",
    "/setup",
    "/sign-in",
    "/invitations/{token}",
    "/reset/{token}",
    "/shared/{token}",
    "/shared/{token}/kept/{kind}/{stage}/{picture}",
    "/shared/{token}/thumbs/{row}",
}
"""For anybody: nothing of a project, or what a secret in the address itself opens."""
OWN = {
    "/",
    "/account",
    "/account/password",
    "/account/tokens",
    "/audits/new",
    "/datasets",
    "/datasets/new",
    "/home",
    "/models",
    "/models/new",
    "/projects",
    "/runs",
    "/sign-out",
    "/uploads",
}
"""For everybody who has signed in: what they show or take is of the projects that one belongs to."""
INTO_A_PROJECT: dict[str, dict[str, Any]] = {
    "/audits/new": {},
    "/datasets": {"name": "x"},
    "/datasets/new": {},
    "/models": {"name": "x", "uploads": ["x"]},
    "/models/new": {},
    "/runs": {"model_version_id": 1, "dataset_id": 1, "split": "val"},
    "/uploads": {"filename": "x", "size": 1},
}
"""Those of them that put something into a project that the request names, and what else scripts send there."""
API = "/api/v1"
BODIES = {
    "tags": {"tag": "odd"},
    "assignee": {"assignee": ""},
    "verdict": {"verdict": "accept"},
    "decisions": {"decision": "approve"},
    "{action}": {"sentence": "a cat on grass", "class_index": 2},
}
"""What scripts send, by the end of the path; whoever may not know of the object learns nothing of what it takes."""


@dataclass(frozen=True)
class Address:
    """A method and a path with its parameters."""

    method: str
    path: str

    @property
    def short(self) -> str:
        """The path as pages know it."""
        return self.path.removeprefix(API)


def addresses() -> Iterator[Address]:
    routers = [assets.router, docs.router]
    for module in page_modules():
        routers += [module.html, module.api]
    for router in routers:
        yield from of_router(router)


def of_router(router: APIRouter) -> Iterator[Address]:
    for route in router.routes:
        assert isinstance(route, APIRoute)
        for method in sorted(route.methods):
            yield Address(method, route.path_format)


ALL = sorted(set(addresses()), key=lambda a: (a.method != "GET", a.method == "DELETE", a.path))
GUARDED = [a for a in ALL if a.path not in OPEN and a.short not in OWN]


@pytest.fixture
def names(results: Results) -> dict[str, Any]:
    """One of everything, by the name of its parameter."""
    owner = results.signed()
    add_corruptions(results)
    add_influence(results)
    with transaction() as session:
        session.get_one(AuditRun, results.built.run_id).kinds = ["slices", "influence", "corruptions"]
    assert owner.post(f"{results.run}/reports", {"title": "R"}).status_code == 303
    owner.post("/account/tokens", {"name": "nightly"})
    token_id = owner.get(f"{API}/account").json()["tokens"][0]["id"]
    with reading() as session:
        report_id = session.scalars(select(Report.id)).one()
    owner.post(f"/reports/{report_id}/links", {"days": "7"})
    sent = {"project_id": results.built.project_id, "filename": "x.zip", "size": 3}
    token = owner.send("POST", f"{API}/uploads", json=sent).json()["token"]
    with reading() as session:
        link_id = session.scalars(select(ShareLink.id)).one()
        version = session.get_one(ModelVersion, results.built.version_id)
        report = read_report(session.get_one(Report, report_id))
        row = int(next(iter(report.images)).row)
        kept = (file.split(".") for file in report.files if file.endswith(".webp"))
        picture = next(number for kind, _, number, _ in kept if kind == "corruptions")
    return {
        "project_id": results.built.project_id,
        "user_id": results.ids["analyst"],
        "dataset_id": results.built.dataset_id,
        "model_id": version.model_id,
        "number": version.number,
        "run_id": results.built.run_id,
        "finding_id": results.built.finding_ids["direction-cat-0"],
        "query_id": results.built.query_ids[0],
        "report_id": report_id,
        "link_id": link_id,
        "token_id": token_id,
        "token": token,
        "row": row,
        "picture": int(picture),
        "index": 0,
        "kind": "corruptions",
        "key": "fog-1",
        "stage": "summarise",
        "name": "report.json",
        "action": "hypothesis",
        "tag": "odd",
    }


def own_names(path: str) -> dict[str, Any]:
    """Where a parameter's name means something else."""
    if "/training/" in path:
        return {"name": "leaked.csv", "row": 5}
    return {"name": "influence-top.npz"} if "/runs/{run_id}/files/" in path else {}


def ask(browser: Signed, address: Address, names: dict[str, Any]) -> int:
    path = address.path.format(**(names | own_names(address.path)))
    if address.method == "GET":
        return browser.get(path, params={"label": "0"}).status_code
    if address.method == "PATCH":
        return browser.send("PATCH", path, headers={"Upload-Offset": "0"}, content=b"abc").status_code
    if address.path.startswith(API):
        body = BODIES.get(address.path.rpartition("/")[2], {})
        return browser.send(address.method, path, json=body).status_code
    return browser.post(path, {"rows": str(names["row"]), "slice": str(names["finding_id"])}).status_code


def test_every_address_is_known() -> None:
    assert len(GUARDED) > 80
    without = {address.short for address in GUARDED if "{" not in address.path}
    assert without == set(), "these name no object: say in OPEN or OWN who may ask for them"


def test_outsiders_find_nothing(results: Results, names: dict[str, Any]) -> None:
    outsider = results.signed("outsider")
    answers = {address: ask(outsider, address, names) for address in GUARDED}
    assert {address: status for address, status in answers.items() if status != 404} == {}


def test_the_same_addresses_are_there_for_the_owner(results: Results, names: dict[str, Any]) -> None:
    """So that an outsider's 404 is a refusal and not a wrong address."""
    owner = results.signed()
    answers = {address: ask(owner, address, names) for address in GUARDED}
    assert {address: status for address, status in answers.items() if status == 404 or status >= 500} == {}


def test_visitors_are_asked_to_sign_in(results: Results, names: dict[str, Any]) -> None:
    for address in ALL:
        if address.path in OPEN:
            continue
        status = results.client.request(address.method, address.path.format(**names)).status_code
        assert status in {303, 401, 403}, address


def test_outsiders_put_nothing_into_a_project(results: Results, names: dict[str, Any]) -> None:
    outsider, project = results.signed("outsider"), {"project_id": names["project_id"]}
    asked = [a for a in ALL if a.method == "POST" and a.short in INTO_A_PROJECT]
    assert len(asked) == len(INTO_A_PROJECT)
    for address in asked:
        if address.path.startswith(API):
            more = {} if address.short == "/runs" else project
            answer = outsider.send("POST", address.path, params=project, json=more | INTO_A_PROJECT[address.short])
        else:
            answer = outsider.post(address.path, {name: str(value) for name, value in project.items()})
        assert answer.status_code in {403, 404}, (address, answer.text)

"""Every page and every form, as owner, analyst, viewer, outsider and visitor."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from fastapi.testclient import TestClient

from app.store.session import transaction
from tests.factories import (
    ROLES,
    People,
    create_dataset,
    create_log,
    create_project,
    create_run,
    create_stage,
    create_version,
)

OWN = ("/", "/account", "/models", "/datasets", "/runs", "/api/v1/docs")
MEMBERS = (
    "/projects/{project}",
    "/models?project={project}",
    "/models/{model}",
    "/models/{model}/versions/1",
    "/datasets?project={project}",
    "/datasets/{dataset}",
    "/runs?project={project}",
    "/runs/{run}",
    "/runs/{run}/progress",
    "/datasets/{dataset}/progress",
    "/models/{model}/versions/1/progress",
)
ANALYSTS = (
    "/models/new?model={model}",
    "/audits/new?model={model}&version=1",
    "/audits/new?dataset={dataset}",
)
ACTIONS = {
    "/runs/{run}/cancel": "analyst",
    "/runs/{run}/again": "analyst",
    "/projects/{project}/name": "owner",
    "/projects/{project}/members": "owner",
    "/projects/{project}/members/{viewer}": "owner",
}
RANK = {"outsider": -1, "viewer": 0, "analyst": 1, "owner": 2}


@dataclass
class Place:
    """Ids of one of each object."""

    names: dict[str, int]

    def at(self, path: str) -> str:
        return path.format(**self.names)


@pytest.fixture
def place(people: People) -> Place:
    """A project with one of everything, and another project that nobody here belongs to."""
    with transaction() as session:
        run = create_run(session, people.project_id, status="running")
        create_stage(session, "run", run.id)
        create_log(session, "run", run.id, "Predicting <b>12</b> rows")
        version = create_version(session, people.project_id, name="Claws")
        dataset = create_dataset(session, people.project_id, name="Pond")
        other = create_project(session, "Secret")
        foreign = create_run(session, other.id, name="Hidden")
        return Place(
            {
                "project": people.project_id,
                "run": run.id,
                "model": version.model_id,
                "dataset": dataset.id,
                "viewer": people.ids["viewer"],
                "foreign_project": other.id,
                "foreign_run": foreign.id,
                "foreign_dataset": foreign.dataset_id,
            }
        )


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", OWN)
def test_pages_of_ones_own(client: TestClient, people: People, place: Place, path: str, role: str) -> None:
    answer = people.sign_in(client, role).get(place.at(path))
    assert answer.status_code == 200
    if path != "/account":
        ours = any(name in answer.text for name in ("Birds", "Feathers", "Pond"))
        assert ours is (role != "outsider") or path.startswith("/api")
    assert "Hidden" not in answer.text


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", ["/models/new", "/datasets/new", "/audits/new"])
def test_forms_open_for_all_and_say_who_may_not_send_them(
    client: TestClient, people: People, place: Place, path: str, role: str
) -> None:
    answer = people.sign_in(client, role).get(path)
    assert answer.status_code == 200
    assert ("you are a viewer" in answer.text) is (role in {"viewer", "outsider"})


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", MEMBERS)
def test_members_see_their_project(client: TestClient, people: People, place: Place, path: str, role: str) -> None:
    browser = people.sign_in(client, role)
    expected = 404 if role == "outsider" else 200
    assert browser.get(place.at(path)).status_code == expected
    if not path.endswith("/progress"):
        twin = browser.get("/api/v1" + place.at(path))
        assert twin.status_code == expected
        assert twin.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", ANALYSTS)
def test_forms_that_add_are_for_analysts(
    client: TestClient, people: People, place: Place, path: str, role: str
) -> None:
    expected = {"outsider": 404, "viewer": 403}.get(role, 200)
    assert people.sign_in(client, role).get(place.at(path)).status_code == expected


@pytest.mark.parametrize("path", [*OWN, *MEMBERS, *ANALYSTS])
def test_visitors_are_sent_to_the_sign_in(client: TestClient, people: People, place: Place, path: str) -> None:
    answer = client.get(place.at(path))
    if path.startswith("/api"):
        assert answer.status_code == 401
    else:
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in?next=/")
        assert client.get("/api/v1" + place.at(path)).status_code in {401, 404}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", ACTIONS)
def test_actions_need_their_role(client: TestClient, people: People, place: Place, path: str, role: str) -> None:
    fields = {"name": "Fish", "email": "x@example.org", "role": "analyst"}
    answer = people.sign_in(client, role).post(place.at(path), fields)
    if role == "outsider":
        assert answer.status_code == 404
    elif RANK[role] < RANK[ACTIONS[path]]:
        assert answer.status_code == 403
        assert f"you are {role}" in answer.text
    else:
        assert answer.status_code in {200, 303}


@pytest.mark.parametrize("path", ACTIONS)
def test_actions_need_the_forms_token(client: TestClient, people: People, place: Place, path: str) -> None:
    owner = people.sign_in(client, "owner")
    for given in ("", "x" * 40, owner.csrf()[:-4] + "AAAA"):
        answer = owner.post(place.at(path), {"csrf": given, "name": "Fish"})
        assert answer.status_code == 403
        assert "Nothing was changed" in answer.text


def test_another_persons_token_does_not_fit(client: TestClient, people: People, place: Place) -> None:
    owner, analyst = people.sign_in(client, "owner"), people.sign_in(client, "analyst")
    assert owner.post(f"/projects/{people.project_id}/name", {"csrf": analyst.csrf(), "name": "X"}).status_code == 403


@pytest.mark.parametrize("path", ["/projects/{foreign_project}", "/runs/{foreign_run}", "/datasets/{foreign_dataset}"])
def test_what_belongs_to_others_does_not_exist(client: TestClient, people: People, place: Place, path: str) -> None:
    owner = people.sign_in(client, "owner")
    there, nowhere = owner.get(place.at(path)), owner.get(path.partition("{")[0] + "99999")
    assert there.status_code == nowhere.status_code == 404
    assert "belongs to a project that you are not a member of" in there.text


def test_what_is_typed_is_escaped(client: TestClient, people: People, place: Place) -> None:
    page = people.sign_in(client, "viewer").get(place.at("/runs/{run}"))
    assert "Predicting &lt;b&gt;12&lt;/b&gt; rows" in page.text


def test_a_running_page_polls_and_a_finished_one_does_not(client: TestClient, people: People, place: Place) -> None:
    viewer = people.sign_in(client, "viewer")
    path = place.at("/runs/{run}")
    assert f'hx-get="{path}/progress" hx-trigger="every 1.5s"' in viewer.get(path).text
    fragment = viewer.get(path + "/progress")
    assert "<html" not in fragment.text
    assert "40 of 100 rows" in fragment.text
    assert "hx-refresh" not in fragment.headers
    people.sign_in(client, "analyst").post(path + "/cancel")
    assert viewer.get(path + "/progress").headers["hx-refresh"] == "true"
    assert "hx-get" not in viewer.get(path).text


def test_cancel_then_resume(client: TestClient, people: People, place: Place) -> None:
    analyst = people.sign_in(client, "analyst")
    path = place.at("/runs/{run}")
    assert analyst.post(path + "/cancel").status_code == 303
    assert analyst.post(path + "/cancel").status_code == 409
    assert "Cancelled" in analyst.get(path).text
    assert analyst.post(path + "/resume").status_code == 303
    assert analyst.get("/api/v1" + path).json()["status"] == "queued"
    assert analyst.post(path + "/resume").status_code == 409


def test_run_again_makes_another_run(client: TestClient, people: People, place: Place) -> None:
    analyst, path = people.sign_in(client, "analyst"), place.at("/runs/{run}")
    assert analyst.post(f"{path}/again").headers["location"] == path  # it still works on the same
    analyst.post(f"{path}/cancel")
    seeds = [analyst.get("/api/v1" + path).json()["seed"]]
    for chosen in ("", "7", "new"):
        location = analyst.post(f"{path}/again", {"seed": chosen}).headers["location"]
        assert location != path
        seeds.append(analyst.get("/api/v1" + location).json()["seed"])
    assert seeds[:3] == [seeds[0], seeds[0], 7]
    assert seeds[3] not in seeds[:3]
    refused = analyst.post(f"{path}/again", {"seed": "often"})
    assert (refused.status_code, "“often” is no seed" in refused.text) == (422, True)
    scripted = analyst.send("POST", f"/api/v1{path}/again?seed=8")
    assert scripted.status_code == 201

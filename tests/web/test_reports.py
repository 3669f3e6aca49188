"""Reports: immutable snapshots, share links that show one report and nothing else, and the one-file report."""

from __future__ import annotations

import hashlib
import io
import json
import re
from datetime import timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest
from jsonschema import validate
from sqlalchemy import select, update

from app.errors import UserError
from app.services.reports import share, snapshot
from app.services.reports.schema import ReportContent
from app.store.models import AuditRun, Report, ShareLink
from app.store.models.base import utcnow
from app.store.session import reading, transaction
from app.web import report_file
from tests.factories import Signed
from tests.results_rows import CLASSES
from tests.web.conftest import Results

ROLES = ("owner", "analyst", "viewer", "outsider")


def make(results: Results, role: str = "owner", title: str = "Cats") -> str:
    """Make a report and return its path."""
    answer = results.signed(role).post(f"{results.run}/reports", {"title": title})
    assert answer.status_code == 303, answer.text[:300]
    return str(answer.headers["location"])


def make_link(results: Results, report: str, days: str = "30") -> str:
    """Make a share link and return its path."""
    page = results.signed().post(f"{report}/links", {"days": days})
    assert page.status_code == 200, page.text[:300]
    found = re.search(r'href="http://testserver(/shared/[^"]+)"', page.text)
    assert found
    return found[1]


def stored(results: Results) -> Report:
    with reading() as session:
        return session.scalars(select(Report)).one()


def test_a_snapshot_does_not_change_when_the_run_does(results: Results) -> None:
    report = make(results)
    before = results.signed().get(f"/api/v1{report}").json()
    assert results.signed().post(f"{results.slice()}/rename", {"title": "Renamed later"}).status_code == 303
    with transaction() as session:
        session.execute(update(AuditRun).values(summary={}))
    after = results.signed().get(f"/api/v1{report}").json()
    assert after["view"] == before["view"]
    assert "Renamed later" not in json.dumps(after)


def test_the_content_s_hash_is_the_file_s(results: Results) -> None:
    report = make(results)
    body = results.signed().get(f"{report}/files/report.json").content
    assert hashlib.sha256(body).hexdigest() == stored(results).content_hash


def test_the_json_fits_the_published_schema(results: Results) -> None:
    report = make(results)
    body = results.signed().get(f"{report}/files/report.json").json()
    schema = results.client.get("/api/v1/schemas/report.json").json()
    validate(body, schema)
    assert body["data"]["sha256"]
    assert {"data", "model"} <= body.keys()
    assert body["seed"] == ReportContent.model_validate(body).seed


def test_verdicts_comments_and_questions_are_in_it(results: Results) -> None:
    results.signed("analyst").post(f"{results.slice()}/verdict", {"verdict": "accept"})
    results.signed("analyst").post(f"{results.slice()}/comment", {"text": "Seen on the phone too"})
    body = results.signed().get(f"{make(results)}/files/report.json").json()
    finding = next(f for f in body["findings"] if f["id"] == results.built.finding_ids["direction-cat-0"])
    assert [v["verdict"] for v in finding["verdicts"]] == ["accept"]
    assert [c["text"] for c in finding["comments"]] == ["Seen on the phone too"]
    assert len(body["queries"]) == sum(q.status == "succeeded" for q in results.questions())


def test_the_scores_have_a_row_per_example(results: Results) -> None:
    body = results.signed().get(f"{make(results)}/files/scores.parquet").content
    table = pq.read_table(io.BytesIO(body))
    wanted = ["id", "split", "role", "label", "prediction", "confidence", "decision", "slices"]
    assert table.column_names == wanted
    assert set(table["label"].to_pylist()) <= {*CLASSES}
    assert all(
        id_.split("/")[1] == label
        for id_, label in zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True)
    )
    content = results.signed().get(f"/api/v1{results.run}").json()
    assert table.num_rows > 100
    assert content["id"] == results.built.run_id


@pytest.mark.parametrize(("role", "status"), [("owner", 200), ("analyst", 200), ("viewer", 200), ("outsider", 404)])
def test_who_reads_a_report(results: Results, role: str, status: int) -> None:
    report = make(results)
    row = snapshot.read_report(stored(results)).images[0].row
    browser = results.signed(role)
    paths = ("", "/files/report.html", "/files/report.json", "/files/scores.parquet", f"/thumbs/{row}")
    for path in paths:
        assert browser.get(report + path).status_code == status, path


@pytest.mark.parametrize(("role", "status"), [("analyst", 303), ("viewer", 403), ("outsider", 404)])
def test_who_makes_a_report(results: Results, role: str, status: int) -> None:
    assert results.signed(role).post(f"{results.run}/reports", {"title": ""}).status_code == status


def test_an_unfinished_run_has_no_report(results: Results) -> None:
    with transaction() as session:
        session.execute(update(AuditRun).values(status="running"))
    assert results.signed().post(f"{results.run}/reports", {"title": ""}).status_code == 409


class TestShareLinks:
    """A link shows one report, its own thumbnails, and nothing else."""

    def test_it_opens_without_an_account(self, results: Results) -> None:
        link = make_link(results, make(results, title="Cats in the snow"))
        page = results.client.get(link)
        assert page.status_code == 200
        assert "Cats in the snow" in page.text
        assert page.headers["referrer-policy"] == "no-referrer"
        thumbs = re.findall(r'src="(/shared/[^"]+)"', page.text)
        assert thumbs
        assert all(t.startswith(link + "/thumbs/") for t in thumbs)
        assert results.client.get(thumbs[0]).headers["content-type"] == "image/webp"

    def test_it_links_to_nothing_inside(self, results: Results) -> None:
        page = results.client.get(make_link(results, make(results))).text
        hrefs = set(re.findall(r'<a[^>]* href="([^"]+)"', page))
        assert all(href.startswith("#") for href in hrefs), hrefs

    def test_it_shows_no_picture_that_is_not_in_the_report(self, results: Results) -> None:
        link = make_link(results, make(results))
        held = {image.row for image in snapshot.read_report(stored(results)).images}
        other = next(row for row in range(10_000) if row not in held)
        assert results.client.get(f"{link}/thumbs/{other}").status_code == 404

    def test_it_gives_no_other_access(self, results: Results) -> None:
        link = make_link(results, make(results))
        results.client.get(link)
        assert results.client.get(results.run).status_code == 303
        assert results.client.get(f"/api/v1{results.run}").status_code == 401

    @pytest.mark.parametrize("change", ["expire", "revoke", "delete"])
    def test_it_ends(self, results: Results, change: str) -> None:
        link = make_link(results, make(results))
        with transaction() as session:
            row = session.scalars(select(ShareLink)).one()
            if change == "expire":
                row.expires_at = utcnow() - timedelta(seconds=1)
            elif change == "delete":
                session.delete(row)
        if change == "revoke":
            report = f"/reports/{stored(results).id}"
            assert results.signed().post(f"{report}/links/{row.id}/revoke").status_code == 303
        assert results.client.get(link).status_code == 404
        row_of_image = snapshot.read_report(stored(results)).images[0].row
        assert results.client.get(f"{link}/thumbs/{row_of_image}").status_code == 404

    def test_a_changed_token_opens_nothing(self, results: Results) -> None:
        link = make_link(results, make(results))
        assert results.client.get(link[:-2] + ("AA" if link[-2:] != "AA" else "BB")).status_code == 404

    def test_only_its_hash_is_kept(self, results: Results) -> None:
        token = make_link(results, make(results)).rsplit("/", 1)[1]
        with reading() as session:
            row = session.scalars(select(ShareLink)).one()
        assert row.token_hash == hashlib.sha256(token.encode()).hexdigest()

    @pytest.mark.parametrize("days", ["0", "366", "-1", "soon", ""])
    def test_days_have_limits(self, results: Results, days: str) -> None:
        answer = results.signed().post(f"{make(results)}/links", {"days": days})
        assert answer.status_code == 422
        assert "365" in answer.text

    def test_a_viewer_shares_nothing(self, results: Results) -> None:
        report = make(results)
        assert results.signed("viewer").post(f"{report}/links", {"days": "3"}).status_code == 403

    def test_another_report_s_link_is_not_revoked_through_this_one(self, results: Results) -> None:
        first, second = make(results, title="one"), make(results, title="two")
        link = make_link(results, first)
        with reading() as session:
            link_id = session.scalars(select(ShareLink)).one().id
        assert results.signed().post(f"{second}/links/{link_id}/revoke").status_code == 404
        assert results.client.get(link).status_code == 200


class TestOneFile:
    """The report as one HTML file that opens offline."""

    @staticmethod
    def html(results: Results) -> str:
        return str(results.signed().get(f"{make(results)}/files/report.html").text)

    def test_it_refers_to_nothing_outside(self, results: Results) -> None:
        html = self.html(results)
        refers = re.findall(r'(?:src|href|xlink:href)="([^"]*)"', html)
        assert refers
        assert all(r.startswith(("data:", "#")) for r in refers), {r[:60] for r in refers if not r.startswith("data:")}
        assert not [u for u in re.findall(r"url\(([^)]{0,80})", html) if not u.strip("'\"").startswith(("data:", "#"))]

    def test_it_runs_no_script(self, results: Results) -> None:
        assert "<script" not in self.html(results)

    def test_it_holds_the_pictures_and_the_numbers(self, results: Results) -> None:
        html = self.html(results)
        content = snapshot.read_report(stored(results))
        assert html.count("data:image/webp;base64,") >= min(6, len(content.images))
        title = next(f.title for f in content.findings if f.evidence == "confirmed")
        assert title in html

    def test_it_is_refused_above_ten_megabytes(self, results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
        report = make(results)
        monkeypatch.setattr(report_file, "MOST_BYTES", 20_000)
        answer = results.signed().get(f"{report}/files/report.html")
        assert answer.status_code == UserError.status
        assert "MB" in answer.text

    def test_pictures_keep_to_the_budget(self, results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(snapshot, "THUMBNAIL_BUDGET", 3_000)
        make(results)
        content = snapshot.read_report(stored(results))
        folder = snapshot.report_folder(stored(results))
        assert content.images_left_out > 0
        assert sum(path.stat().st_size for path in folder.glob("*.webp")) <= 3_000


def test_scripts_make_reports(results: Results) -> None:
    browser: Signed = results.signed("analyst")
    answer: Any = browser.send("POST", f"/api/v1{results.run}/reports?title=Nightly")
    assert answer.status_code == 200
    assert answer.json()["title"] == "Nightly"
    listed = browser.get(f"/api/v1{results.run}/reports").json()["reports"]
    assert [r["title"] for r in listed] == ["Nightly"]


def test_tokens_signed_with_another_key_open_nothing(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    link = make_link(results, make(results))
    monkeypatch.setattr("app.settings.Settings.secret_key", lambda self: "another key")
    assert share._signer().salt != b""
    assert results.client.get(link).status_code == 404


def test_nested_provenance_is_told_without_braces(results: Results) -> None:
    with transaction() as session:
        session.execute(
            update(AuditRun).values(provenance={"libraries": {"torch": "2.15", "none": None}, "list": [1, 2]})
        )
    report = make(results)
    for page in (results.signed().get(report).text, results.signed().get(f"{report}/files/report.html").text):
        assert "torch 2.15, none –" in page
        assert "1, 2" in page
        assert "{&#39;" not in page

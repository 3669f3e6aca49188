"""Reports: making one, reading it, its files, its share links, and what a link shows to people without an account."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

from fastapi import Path as PathParameter
from fastapi import Request
from fastapi.responses import FileResponse, RedirectResponse, Response
from pydantic import BaseModel, Field

from app.errors import NotFound
from app.services.reports import share
from app.services.reports.reader import kept_file
from app.services.reports.schema import ReportContent
from app.services.reports.scores import published_scores
from app.services.reports.snapshot import CONTENT, make_report, read_report, report_folder
from app.store.models import Report, ShareLink
from app.store.models.base import utcnow
from app.store.repositories import accounts
from app.store.repositories import reports as repository
from app.web.deps import Access, Db, ProjectAccess, SentForm
from app.web.forms import text
from app.web.reader import LiveReader
from app.web.report_context import ReportView, report_view
from app.web.report_file import report_html
from app.web.templating import render, url
from app.web.twins import Pages

pages = Pages("Reports")
SHARE_DAYS = 30
FOR_EVER = "private, max-age=31536000, immutable"
Row = Annotated[int, PathParameter(ge=0)]


class LinkRow(BaseModel):
    """A share link; its token is shown once, when it is made."""

    id: int
    created_at: datetime
    expires_at: datetime
    state: str = Field(description="in force, expired or revoked")


class ReportRow(BaseModel):
    """A report in a list."""

    id: int
    title: str
    created_at: datetime
    content_hash: str


class ReportsPage(BaseModel):
    """The reports of a run."""

    run_id: int
    run_name: str
    ready: bool = Field(description="Whether the run has finished, so that a report can be made.")
    may_make: bool
    reports: list[ReportRow]


class ReportPage(BaseModel):
    """A report with what its owners may do with it."""

    id: int
    run_id: int
    run_name: str
    view: ReportView
    links: list[LinkRow]
    may_share: bool
    made: str = Field(description="The address of the link that was just made; it is not shown again.")


@pages.page("/runs/{run_id}/reports", "reports/list.html")
def list_reports(access: ProjectAccess, run_id: int) -> ReportsPage:
    """The reports of a run, newest first."""
    run = access.run(run_id)
    rows = [
        ReportRow(id=r.id, title=r.title, created_at=r.created_at, content_hash=r.content_hash)
        for r in repository.reports_of(access.session, run_id)
    ]
    may = access.may(run.project_id, "analyst")
    return ReportsPage(run_id=run.id, run_name=run.name, ready=run.status == "succeeded", may_make=may, reports=rows)


@pages.page("/reports/{report_id}", "reports/show.html")
def show_report(access: ProjectAccess, report_id: int) -> ReportPage:
    """A report: an immutable snapshot of a run."""
    return _page(access, access.report(report_id))


@pages.html.post("/runs/{run_id}/reports")
def make(access: ProjectAccess, sent: SentForm, run_id: int) -> Response:
    """Take a snapshot of a run."""
    run = access.run(run_id, "analyst")
    reader = LiveReader(access.session, run)
    report = make_report(access.session, run, access.user, reader, text(sent, "title").strip()[:200])
    subject = ("report", report.id)
    accounts.log(access.session, access.user.id, "report_made", project_id=run.project_id, subject=subject)
    return RedirectResponse(url(f"/reports/{report.id}"), 303)


@pages.api.post("/runs/{run_id}/reports", summary="Take a snapshot of a run")
def make_by_script(access: ProjectAccess, run_id: int, title: str = "") -> ReportRow:
    """Take a snapshot of a run."""
    run = access.run(run_id, "analyst")
    report = make_report(access.session, run, access.user, LiveReader(access.session, run), title)
    return ReportRow(id=report.id, title=report.title, created_at=report.created_at, content_hash=report.content_hash)


@pages.html.post("/reports/{report_id}/links")
def add_link(request: Request, access: ProjectAccess, sent: SentForm, report_id: int) -> Response:
    """Make a share link, and show its address this once."""
    report = access.report(report_id, "analyst")
    days = text(sent, "days")
    _, token = share.share(access.session, report, access.user, int(days) if days.isdigit() else 0)
    subject = ("report", report.id)
    accounts.log(access.session, access.user.id, "report_shared", project_id=report.project_id, subject=subject)
    page = _page(access, report)
    root = str(request.base_url).rstrip("/").removesuffix(url("/").rstrip("/"))
    page.made = root + url(f"/shared/{token}")
    return render(request, "reports/show.html", page)


@pages.html.post("/reports/{report_id}/links/{link_id}/revoke")
def revoke_link(access: ProjectAccess, report_id: int, link_id: int) -> Response:
    """End a share link now."""
    report = access.report(report_id, "analyst")
    link = next((found for found in repository.links_of(access.session, report.id) if found.id == link_id), None)
    if link is None:
        raise NotFound("This report has no such link.")
    share.revoke(access.session, link)
    subject = ("report", report.id)
    accounts.log(access.session, access.user.id, "link_revoked", project_id=report.project_id, subject=subject)
    return RedirectResponse(url(f"/reports/{report.id}#share"), 303)


@pages.html.get("/reports/{report_id}/files/{name}")
def file(access: ProjectAccess, report_id: int, name: str) -> Response:
    """A file of the report: report.html, report.json, report.schema.json or scores.parquet."""
    report = access.report(report_id)
    attached = {"Content-Disposition": f'attachment; filename="{name}"'}
    if name == "report.html":
        html = report_html(read_report(report), report.content_hash, report_folder(report))
        return Response(html, media_type="text/html", headers=attached)
    if name == "report.json":
        return FileResponse(report_folder(report) / CONTENT, media_type="application/json", headers=attached)
    if name == "scores.parquet":
        return FileResponse(published_scores(access.run(report.run_id), read_report(report)), headers=attached)
    raise NotFound("A report has report.html, report.json and scores.parquet.")


@pages.html.get("/reports/{report_id}/thumbs/{row}")
def thumb(access: ProjectAccess, report_id: int, row: Row) -> Response:
    """A thumbnail of the snapshot."""
    return _thumb(access.report(report_id), row)


@pages.html.get("/reports/{report_id}/kept/{kind}/{stage}/{picture}")
def kept(access: ProjectAccess, report_id: int, kind: str, stage: str, picture: Row) -> Response:
    """A picture that a stage kept, as the snapshot holds it."""
    return _kept(access.report(report_id), kind, stage, picture)


@pages.html.get("/shared/{token}")
def shared(request: Request, session: Db, token: str) -> Response:
    """What a share link shows: the report, and nothing else."""
    report = share.open_link(session, token)
    view = _view(report, f"/shared/{token}")
    response = render(request, "reports/shared.html", {"view": view})
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Robots-Tag"] = "noindex"
    return response


@pages.html.get("/shared/{token}/thumbs/{row}")
def shared_thumb(session: Db, token: str, row: Row) -> Response:
    """A thumbnail of a shared report."""
    return _thumb(share.open_link(session, token), row)


@pages.html.get("/shared/{token}/kept/{kind}/{stage}/{picture}")
def shared_kept(session: Db, token: str, kind: str, stage: str, picture: Row) -> Response:
    """A picture that a stage kept, of a shared report."""
    return _kept(share.open_link(session, token), kind, stage, picture)


@pages.html.get("/api/v1/schemas/report.json")
def schema() -> dict[str, object]:
    """The JSON Schema of report.json."""
    return ReportContent.model_json_schema()


def _page(access: Access, report: Report) -> ReportPage:
    view = _view(report, f"/reports/{report.id}")
    may = access.may(report.project_id, "analyst")
    links = repository.links_of(access.session, report.id) if may else []
    return ReportPage(
        id=report.id,
        run_id=report.run_id,
        run_name=access.run(report.run_id).name,
        view=view,
        links=[_link(link) for link in links],
        may_share=may,
        made="",
    )


def _link(link: ShareLink) -> LinkRow:
    state = "revoked" if link.revoked_at else "expired" if link.expires_at <= utcnow() else "in force"
    return LinkRow(id=link.id, created_at=link.created_at, expires_at=link.expires_at, state=state)


def _view(report: Report, home: str) -> ReportView:
    return report_view(read_report(report), report.content_hash, lambda path: f"{home}/{path}", report_folder(report))


def _thumb(report: Report, row: int) -> Response:
    return _picture(report_folder(report) / f"{row}.webp")


def _kept(report: Report, kind: str, stage: str, number: int) -> Response:
    name = kept_file(kind, stage, number)
    if name not in read_report(report).files:
        raise NotFound("This report holds no such picture.")
    return _picture(report_folder(report) / name)


def _picture(path: Path) -> Response:
    if not path.is_file():
        raise NotFound("This report holds no such picture.")
    return FileResponse(path, media_type="image/webp", headers={"Cache-Control": FOR_EVER})

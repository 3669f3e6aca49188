"""Lists show all projects of a person, or the one that the URL names."""

from __future__ import annotations

from urllib.parse import urlencode

from pydantic import BaseModel, Field

from app.store.repositories import projects
from app.web.deps import Access


class ProjectOption(BaseModel):
    """A project that a list can be narrowed to."""

    id: int
    name: str


class ProjectChoice(BaseModel):
    """The projects that a list covers."""

    options: list[ProjectOption] = Field(description="All projects of the person.")
    chosen: int | None = Field(description="The project that the list is narrowed to.")
    ids: list[int] = Field(description="The projects that the list covers.")
    base: str = Field(description="Path of the list.")
    may_add: bool = Field(description="Whether the person may add to one of these projects.")

    def path(self, project: int | None = None, before: int | None = None, **more: object) -> str:
        """Return the path of this list for a project and page; the present project where none is named."""
        wanted = {"project": project or self.chosen, "before": before, **more}
        query = urlencode({name: value for name, value in wanted.items() if value not in (None, "")})
        return self.base + (f"?{query}" if query else "")


def scope(access: Access, project_id: int | None, base: str) -> ProjectChoice:
    """Return what a list covers.

    Raises:
        NotFound: the person is no member of that project.
    """
    joined = projects.of_user(access.session, access.user.id)
    if project_id is not None:
        access.project(project_id)
    covered = [entry for entry in joined if project_id in (None, entry.project.id)]
    return ProjectChoice(
        options=[ProjectOption(id=entry.project.id, name=entry.project.name) for entry in joined],
        chosen=project_id,
        ids=[entry.project.id for entry in covered],
        base=base,
        may_add=any(entry.role != "viewer" for entry in covered),
    )


def writable(access: Access, project_id: int | None) -> list[ProjectOption]:
    """Return the projects that the person may add to, the named one first."""
    joined = projects.of_user(access.session, access.user.id)
    found = [ProjectOption(id=e.project.id, name=e.project.name) for e in joined if e.role != "viewer"]
    return sorted(found, key=lambda option: option.id != project_id)

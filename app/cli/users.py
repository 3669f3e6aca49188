"""`faultline users …`: for the operator of the machine, who needs no account."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.orm import Session

from app.cli.actor import prepare
from app.errors import NotFound
from app.services import passwords
from app.store.models import User
from app.store.repositories import accounts
from app.store.session import reading, transaction

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """List the accounts."""
    prepare()
    with reading() as session:
        found = accounts.everybody(session)
    table = Table("id", "e-mail", "name", "", box=None)
    for user in found:
        state = "administrator" if user.is_admin else "" if user.password_hash else "invited, not here yet"
        table.add_row(str(user.id), user.email, user.name, state)
    Console().print(table)


@app.command("reset-password")
def reset_password(
    email: str,
    link: Annotated[
        bool, typer.Option("--link", help="Print the path of a page where the person sets it, once, within 24 hours.")
    ] = False,
) -> None:
    """Set a new password for an account, asked for on the terminal; it is signed out everywhere."""
    prepare()
    with transaction() as session:
        user = _user(session, email)
        if link:
            typer.echo(f"/reset/{passwords.link_of(user)}")
            return
    password = typer.prompt("New password (at least 10 characters)", hide_input=True, confirmation_prompt=True)
    with transaction() as session:
        passwords.replace(session, _user(session, email), password)
    typer.echo(f"{email} has a new password, and is signed out everywhere.")


def _user(session: Session, email: str) -> User:
    user = accounts.by_email(session, email)
    if user is None:
        raise NotFound(f"There is no account for {email}. `faultline users list` lists them.")
    return user

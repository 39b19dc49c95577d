"""`issuer users`: accounts, their roles, the one-time link."""

from typing import Annotated

import typer

from issuer import database
from issuer.accounts import invitations, users
from issuer.accounts.users import Grant
from issuer.cli.common import desk_of, print_table

INVITATION_PATH = "/invite/"

app = typer.Typer(help="cli.group.users", no_args_is_help=True)

Login = Annotated[str, typer.Argument(help="cli.users.login")]
RoleText = Annotated[str, typer.Argument(help="cli.users.role")]


def attach(parent: typer.Typer) -> None:
    """Hang these commands below `issuer`."""
    parent.add_typer(app, name="users")


@app.command(help="cli.users.add")
def add(
    context: typer.Context,
    login: Login,
    name: Annotated[str, typer.Option(help="cli.users.name")],
    role: Annotated[list[str], typer.Option(help="cli.users.role")],
    language: Annotated[str, typer.Option(help="cli.users.language")] = "vi",
) -> None:
    """Make an account; it is opened with an invitation."""
    desk = desk_of(context)
    grants = [Grant.parse(text) for text in role]
    with database.transaction(desk.factory) as session:
        user = users.add(session, desk.actor, login, name, grants, desk.now(), language)
    desk.say("cli.users.added", login=user.login)


@app.command(help="cli.users.invite")
def invite(context: typer.Context, login: Login) -> None:
    """Print a link with which the user sets a password, once."""
    desk = desk_of(context)
    with database.transaction(desk.factory) as session:
        token = invitations.invite(session, desk.actor, login, desk.now())
    print(f"{desk.config.public_url}{INVITATION_PATH}{token}")


@app.command("list", help="cli.users.list")
def list_users(context: typer.Context) -> None:
    """Show accounts and their roles."""
    desk = desk_of(context)
    with database.reading(desk.factory) as session:
        listed = users.listed(session, desk.actor)
    rows = [
        (
            user.login,
            user.full_name,
            " ".join(map(str, grants)),
            desk.text("cli.users.open" if user.is_active else "cli.users.closed"),
        )
        for user, grants in listed
    ]
    print_table([desk.text(f"cli.users.{name}") for name in ("login", "name", "role", "state")], rows)


@app.command(help="cli.users.deactivate")
def deactivate(context: typer.Context, login: Login) -> None:
    """Close an account; its sessions end at once."""
    desk = desk_of(context)
    with database.transaction(desk.factory) as session:
        users.deactivate(session, desk.actor, users.by_login(session, login).id, desk.now())
    desk.say("cli.users.deactivated", login=login)


@app.command(help="cli.users.reactivate")
def reactivate(context: typer.Context, login: Login) -> None:
    """Open an account again; it needs a new invitation."""
    desk = desk_of(context)
    with database.transaction(desk.factory) as session:
        users.reactivate(session, desk.actor, users.by_login(session, login).id, desk.now())
    desk.say("cli.users.reactivated", login=login)


@app.command(help="cli.users.grant")
def grant(context: typer.Context, login: Login, role: RoleText) -> None:
    """Give a role."""
    desk = desk_of(context)
    with database.transaction(desk.factory) as session:
        users.grant_role(session, desk.actor, users.by_login(session, login).id, Grant.parse(role), desk.now())
    desk.say("cli.users.granted", login=login, role=role)


@app.command(help="cli.users.revoke")
def revoke(context: typer.Context, login: Login, role: RoleText) -> None:
    """Take a role away; the user's sessions end at once."""
    desk = desk_of(context)
    with database.transaction(desk.factory) as session:
        users.revoke_role(session, desk.actor, users.by_login(session, login).id, Grant.parse(role), desk.now())
    desk.say("cli.users.revoked", login=login, role=role)

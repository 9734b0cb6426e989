"""Commands on the database: bring it up to date, audit it, export hands from it.

All but `migrate` only look, beside a running server too.
"""

import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click
import msgspec
import psycopg
import trio

from persistence.audit import AuditReport
from persistence.audit import audit as run_audit
from persistence.connection import TrioConnection
from persistence.errors import PersistenceError
from persistence.migrate import migrate as run_migrations
from persistence.rooms import room_exists, room_id_by_code
from server import logs
from server.audit_text import audit_text
from server.database import NoDatabase, database_url, existing_database
from server.embedded import EmbeddedFailed
from server.hand_export import Exported, Wanted, export_hands, sink_at
from server.settings import Settings

T = TypeVar("T")

_DAY = click.DateTime(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])


class CannotLook(click.ClickException):
    """The command could not do its work: 2, for 1 says that it did and found something."""

    exit_code = 2


@click.command()
@click.pass_obj
def migrate(settings: Settings) -> None:
    """Bring the database up to date, and end."""
    logs.configure(settings.log_format, settings.log_level)
    try:
        applied = trio.run(_migrate, settings)
    except (PersistenceError, psycopg.Error, EmbeddedFailed) as error:
        raise click.ClickException(str(error)) from None
    for name in applied:
        click.echo(f"applied {name}")
    click.echo("The database is up to date.")


async def _migrate(settings: Settings) -> list[str]:
    async with (
        database_url(settings, create=True) as url,
        await TrioConnection.connect(url, autocommit=True) as conn,
    ):
        return [f"{m.version:04} {m.name}" for m in await run_migrations(conn)]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Write the report as JSON.")
@click.option("--hands", is_flag=True, help="Also play every finished hand again.")
@click.pass_obj
def audit(settings: Settings, as_json: bool, hands: bool) -> None:
    """Prove that every chip, event and hand in the database adds up.

    Ends with 0 if it does, with 1 after naming what does not, with 2 if it could not look.
    """
    report = _looking(_audit, settings, hands)
    if as_json:
        told = {"ok": report.clean, **msgspec.structs.asdict(report)}
        click.echo(msgspec.json.format(msgspec.json.encode(told)).decode())
    else:
        click.echo(audit_text(report))
    sys.exit(0 if report.clean else 1)


async def _audit(settings: Settings, hands: bool) -> AuditReport:
    async with existing_database(settings) as pool:
        return await run_audit(pool, replay_hands=hands)


@click.command()
@click.option("--room", help="Only this room, by its id or join code (default: all rooms).")
@click.option("--user", help="Tell this user's cards (default: only cards that were shown).")
@click.option("--all-cards", is_flag=True, help="Tell all hole cards.")
@click.option("--since", type=_DAY, help="Only hands that began then or later (UTC).")
@click.option("--until", type=_DAY, help="Only hands that began before (UTC).")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="A file (.phhs) for all, or a folder for a file of each (default: standard output).",
)
@click.pass_obj
def export_hands_command(
    settings: Settings,
    room: str | None,
    user: str | None,
    all_cards: bool,
    since: datetime | None,
    until: datetime | None,
    out: Path | None,
) -> None:
    """Write finished hands in PHH, as a spectator or one user knows them."""
    if user is not None and all_cards:
        raise click.UsageError("--user and --all-cards exclude each other.")
    wanted = Wanted(
        room_id=room, viewer=user, all_cards=all_cards, since=_ms(since), until=_ms(until)
    )
    done = _looking(_export, settings, wanted, out)
    click.echo(f"{done.written} hands written.", err=True)
    for hand_id in done.unreadable:
        click.echo(f"Left out: hand {hand_id}, its rows contradict each other.", err=True)
    sys.exit(1 if done.unreadable else 0)


async def _export(settings: Settings, wanted: Wanted, out: Path | None) -> Exported:
    async with existing_database(settings) as pool:
        if wanted.room_id is not None and not await room_exists(pool, wanted.room_id):
            by_code = await room_id_by_code(pool, wanted.room_id)
            if by_code is None:
                raise NoDatabase(f"There is no room {wanted.room_id}.")
            wanted = msgspec.structs.replace(wanted, room_id=by_code)
        with sink_at(out) as sink:
            return await export_hands(pool, wanted, sink)


def _looking(look: Callable[..., Awaitable[T]], *given: object) -> T:
    try:
        return trio.run(look, *given)
    except (NoDatabase, PersistenceError, psycopg.Error, EmbeddedFailed, OSError) as error:
        raise CannotLook(str(error)) from None


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.replace(tzinfo=UTC).timestamp() * 1000)

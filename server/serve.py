"""`cardroom serve`: run the server, and say in words why it ends."""

import sys
from collections.abc import Iterator

import click
import msgspec
import structlog
import trio

from persistence.errors import PersistenceError
from server import logs
from server.database_start import CannotServe
from server.embedded import EmbeddedFailed
from server.process import StoppedEarly
from server.server_file import Addresses
from server.settings import Settings, SettingsError, masked
from server.start import run_server

log = structlog.stdlib.get_logger(__name__)

WELCOME = """
Cardroom is ready.

  players   ws://{host}:{ws_port}/ws
  HTTP      http://{host}:{http_port}    (API documents at /docs)

See a first hand, in a second terminal:

  {cardroom} demo                  six bots play at a table, with a live picture of it
  {cardroom} play --user alice     sit down beside them
  {cardroom} token --user alice --name Alice    an access token for a client of your own
  {cardroom} push-stand-in         see push notifications without an account for them

Stop with Ctrl-C; started again, every table goes on where it was.
"""


@click.command()
@click.option("--print-config", is_flag=True, help="Show the settings in force, and end.")
@click.pass_obj
def serve(settings: Settings, print_config: bool) -> None:
    """Run the server until it is told to stop."""
    if print_config:
        shown = msgspec.json.encode(masked(settings), enc_hook=str)
        click.echo(msgspec.json.format(shown).decode())
        return
    logs.configure(settings.log_format, settings.log_level)
    for warning in settings.warnings:
        log.warning("setting", hint=warning)
    try:
        trio.run(_serve, settings, strict_exception_groups=True)
    except* StoppedEarly:
        pass
    except* (OSError, CannotServe, EmbeddedFailed, PersistenceError, SettingsError) as failed:
        for error in _leaves(failed):
            click.echo(f"cardroom: {error}", err=True)
        sys.exit(1)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


async def _serve(settings: Settings) -> None:
    async with trio.open_nursery() as nursery:
        addresses: Addresses = await nursery.start(run_server, settings)
        click.echo(
            WELCOME.format(
                host=settings.host,
                ws_port=addresses.ws_port,
                http_port=addresses.http_port,
                cardroom=sys.argv[0],
            )
        )

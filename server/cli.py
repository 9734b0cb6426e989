"""The `cardroom` command."""

import os
from functools import partial
from importlib import import_module
from pathlib import Path

import click

from server.garbage import left_alone
from server.server_file import ServerFile
from server.settings import Settings, SettingsError, ensure_jwt_secret, load

BENCH = "bench"
DATABASE = "server.database_cli"
ELSEWHERE = {
    "serve": ("server.serve", "serve"),
    "migrate": (DATABASE, "migrate"),
    "audit": (DATABASE, "audit"),
    "export-hands": (DATABASE, "export_hands_command"),
    "bench": (f"{BENCH}.cli", "bench"),
    "push-stand-in": (f"{BENCH}.cli", "push_stand_in"),
}
"""Commands of other modules, and what they are called there."""


class _Commands(click.Group):
    """The commands below, and those of other modules, which are loaded when they are asked for.

    No import leads to `bench`, which looks at servers from outside.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, name = ELSEWHERE[cmd_name]
        with left_alone():
            command: click.Command = getattr(import_module(module), name)
        return command


@click.group(cls=_Commands)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML file with settings (default: cardroom.toml, if there is one).",
)
@click.version_option(package_name="cardroom")
@click.pass_context
def main(ctx: click.Context, config: Path | None) -> None:
    """Run and look after the realtime server of a poker club."""
    try:
        ctx.obj = load(os.environ, config)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.option("--user", required=True, help="The user id (1 to 64 characters).")
@click.option("--name", help="What others see (default: the user id).")
@click.option("--role", type=click.Choice(["player", "staff"]), default="player")
@click.option("--ttl", default=24 * 60 * 60, help="Seconds that it is good for.")
@click.pass_obj
def token(settings: Settings, user: str, name: str | None, role: str, ttl: int) -> None:
    """Print an access token, signed with the server's own secret."""
    click.echo(_mint(settings, user, name or user, role, ttl))


@main.command()
@click.option("--variant", default="nlhe", show_default=True, help="What they play.")
@click.pass_obj
def demo(settings: Settings, variant: str) -> None:
    """Watch six bots play, until Ctrl-C."""
    import trio

    from client.demo import demo as run_demo

    url = _websocket_url(settings)

    def mint(user: str, name: str, role: str) -> str:
        return _mint(settings, user, name, role, 3600)

    trio.run(partial(run_demo, url, mint, variant=variant))


@main.command()
@click.option("--user", required=True, help="Who plays.")
@click.option("--name", help="What others see (default: the user id).")
@click.option("--room", help="The room's join code (default: the newest room of the lobby).")
@click.option("--seat", type=int, help="The seat (default: the first that is free).")
@click.option("--buy-in", type=int, help="Chips to sit down with (default: the most allowed).")
@click.pass_obj
def play(
    settings: Settings,
    user: str,
    name: str | None,
    room: str | None,
    seat: int | None,
    buy_in: int | None,
) -> None:
    """Sit down at a table and play from the terminal."""
    import trio

    from client.play import play as run_play

    access = _mint(settings, user, name or user, "player", 24 * 60 * 60)
    trio.run(run_play, _websocket_url(settings), access, name or user, room, seat, buy_in)


def _mint(settings: Settings, user: str, name: str, role: str, ttl_s: int) -> str:
    from server.auth.tokens import mint

    if settings.jwt_algorithm != "HS256":
        raise click.ClickException("Tokens come from the identity provider here (jwks_url is set).")
    try:
        secret = settings.jwt_secret or ensure_jwt_secret(settings.data_dir)
        return mint(
            secret,
            user,
            name,
            "staff" if role == "staff" else "player",
            ttl_s,
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
        )
    except (SettingsError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None


def _websocket_url(settings: Settings) -> str:
    told = ServerFile(settings.data_dir).read()
    if told is None:
        raise click.ClickException(
            f"No server runs with the data folder {settings.data_dir}; start one with `make serve`."
        )
    return f"ws://{settings.host}:{told.ws_port}/ws"


if __name__ == "__main__":
    main()

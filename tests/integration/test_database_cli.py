"""`cardroom audit` and `cardroom export-hands` on a database that somebody else may be using."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result
from pokerkit import HandHistory

from protocol import commands
from server.cli import main
from tests.support.rooms import HOST
from tests.support.scene import PLAYERS, Scene, table

pytestmark = pytest.mark.fail_after(60)


@pytest.fixture
async def scene(database_url: str) -> AsyncIterator[Scene]:
    """A room with three finished hands, a minute apart, the last with a showdown."""
    async with table(database_url) as made:
        await made.hand()
        made.club.now += 60_000
        await made.hand()
        made.club.now += 60_000
        await made.hand(quick=False)
        yield made


async def run(*arguments: str, url: str | None, folder: Path | None = None) -> Result:
    environment = {"DATABASE_URL": url, "CARDROOM_DATA_DIR": str(folder) if folder else None}
    return await trio.to_thread.run_sync(
        lambda: CliRunner().invoke(main, arguments, env=environment)
    )


def numbers(text: str) -> list[str | int | None]:
    return [history.hand for history in HandHistory.loads_all(text)]


def unknown(text: str) -> int:
    return text.count("????")


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def test_a_sound_database_is_told_as_such(scene: Scene, database_url: str) -> None:
    result = await run("audit", url=database_url)
    assert result.exit_code == 0
    assert "ok    conservation" in result.output
    assert result.output.splitlines()[-1].startswith("Everything adds up")
    told = json.loads((await run("audit", "--json", url=database_url)).output)
    assert told["ok"] is True
    assert told["findings"] == []
    assert told["counts"]["orphans"] == 0


async def test_findings_are_named_and_end_with_1(scene: Scene, database_url: str) -> None:
    async with scene.club.pool.connection() as conn:
        await conn.execute("UPDATE wallets SET balance = balance - 4 WHERE user_id = 'ann'")
    result = await run("audit", url=database_url)
    assert result.exit_code == 1
    assert "WRONG wallets: 1\n        The wallet of ann holds 8996, its" in result.output
    assert result.output.splitlines()[-1] == "2 findings."
    result = await run("audit", "--json", url=database_url)
    assert result.exit_code == 1
    told = json.loads(result.output)
    assert told["ok"] is False
    wallet = next(found for found in told["findings"] if found["check"] == "wallets")
    assert wallet["row"] == {"user_id": "ann", "balance": 8_996, "booked": 9_000}


@pytest.mark.parametrize("command", ["audit", "export-hands"])
async def test_what_cannot_be_looked_at_ends_with_2(
    scene: Scene, database_url: str, tmp_path: Path, command: str
) -> None:
    result = await run(command, url="postgresql://127.0.0.1:1/cardroom")
    assert (result.exit_code, "not reachable" in result.output) == (2, True)
    result = await run(command, url=None, folder=tmp_path / "data")
    assert (result.exit_code, "There is no database" in result.output) == (2, True)
    assert not (tmp_path / "data").exists()
    async with scene.club.pool.connection() as conn:
        await conn.execute("DELETE FROM schema_migrations WHERE version > 1")
    result = await run(command, url=database_url)
    assert (result.exit_code, "cardroom migrate" in result.output) == (2, True)


async def test_hands_go_to_standard_output_as_a_spectator_knows_them(
    scene: Scene, database_url: str
) -> None:
    result = await run("export-hands", url=database_url)
    assert result.exit_code == 0, result.output
    assert numbers(result.stdout) == [1, 2, 3]
    assert unknown(result.stdout) >= 6
    assert result.stderr == "3 hands written.\n"


async def test_a_users_hands_tell_their_cards_and_all_cards_everybodys(
    scene: Scene, database_url: str
) -> None:
    as_ann = (await run("export-hands", "--user", "ann", url=database_url)).stdout
    spectator = (await run("export-hands", url=database_url)).stdout
    assert unknown(spectator) > unknown(as_ann) >= 4
    everything = (await run("export-hands", "--all-cards", url=database_url)).stdout
    assert unknown(everything) == 0
    both = await run("export-hands", "--all-cards", "--user", "ann", url=database_url)
    assert both.exit_code == 2


@pytest.mark.parametrize("room", ["room-1", "ROOM-1", "room-1 "])
async def test_a_room_is_named_by_id_or_code(scene: Scene, database_url: str, room: str) -> None:
    result = await run("export-hands", "--room", room, url=database_url)
    if room.endswith(" "):
        assert (result.exit_code, "There is no room" in result.output) == (2, True)
    else:
        assert numbers(result.stdout) == [1, 2, 3]


async def test_hands_are_chosen_by_when_they_began(scene: Scene, database_url: str) -> None:
    # They begin at 10:00:00, 10:01:00 and 10:02:00, and some.
    since = ("--since", "2025-11-20T10:01:00")
    until = ("--until", "2025-11-20T10:02:00")
    assert numbers((await run("export-hands", *since, url=database_url)).stdout) == [2, 3]
    assert numbers((await run("export-hands", *until, url=database_url)).stdout) == [1, 2]
    assert numbers((await run("export-hands", *since, *until, url=database_url)).stdout) == [2]
    later = await run("export-hands", "--since", "2025-11-21", url=database_url)
    assert (later.exit_code, later.stdout) == (0, "")


async def test_a_file_takes_all_hands_and_a_folder_one_file_each(
    scene: Scene, database_url: str, tmp_path: Path
) -> None:
    one, folder = tmp_path / "all.phhs", tmp_path / "hands"
    await run("export-hands", "--out", str(one), url=database_url)
    with one.open("rb") as file:
        assert [history.hand for history in HandHistory.load_all(file)] == [1, 2, 3]
    assert files_in(tmp_path) == [one]
    await run("export-hands", "--out", str(folder), url=database_url)
    assert files_in(folder) == [folder / f"ROOM-1-{number}.phh" for number in (1, 2, 3)]
    for path in files_in(folder):
        with path.open("rb") as file:
            assert sorted(HandHistory.load(file).user_defined_fields["_user_ids"]) == [*PLAYERS]


async def test_a_hand_that_contradicts_itself_is_left_out_and_told(
    scene: Scene, database_url: str
) -> None:
    broken = await scene.club.one("SELECT id FROM hands WHERE number = 2")
    async with scene.club.pool.connection() as conn:
        await conn.execute("DELETE FROM actions WHERE hand_id = %s AND ordinal = 1", (broken,))
    result = await run("export-hands", url=database_url)
    assert result.exit_code == 1
    assert numbers(result.stdout) == [1, 3]
    assert broken in result.stderr


async def test_a_running_hand_is_not_exported(scene: Scene, database_url: str) -> None:
    await scene.ask(HOST, commands.Start())
    result = await run("export-hands", "--all-cards", url=database_url)
    assert numbers(result.stdout) == [1, 2, 3]

"""Play."""

from protocol import commands
from protocol.replies import Changed, Ok
from server.http.bodies import ActionBody
from server.http.calls import Call, Routes

ROUTES = Routes("games")


@ROUTES("POST", "/api/games/{game_id}/actions", takes=ActionBody, answers=Changed)
async def act(call: Call, body: ActionBody) -> Ok:
    """Decide at one's turn."""
    room_id = await call.club.room_of_game(call.path["game_id"])
    return await call.run(commands.Action(room_id=room_id, action=body.action, amount=body.amount))

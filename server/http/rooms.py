"""Rooms and membership, from the lobby to the seat, and what a host does."""

from msgspec import Struct

from protocol import commands
from protocol.errors import ErrorCode, Refused
from protocol.replies import (
    Changed,
    Joined,
    Ok,
    RoleTaken,
    RoomReply,
    Rooms,
    SeatLeft,
    StackChanged,
)
from protocol.views import RoomSnapshot
from server.answers import Membership
from server.http import bodies
from server.http.answers import BansAnswer, RoomAnswer, SpectatorsAnswer
from server.http.bodies import MeBody, NamedBody, NoBody, UserBody
from server.http.calls import Call, Routes

_ROOM = "/api/rooms/{room_id}"

ROUTES = Routes("rooms")


@ROUTES("POST", "/api/rooms", takes=bodies.RoomBody, answers=RoomReply, status=201)
async def create_room(call: Call, body: bodies.RoomBody) -> Ok:
    """Make a room; the asker becomes its host."""
    return await call.run(
        commands.CreateRoom(settings=body.patch(), display_name=body.display_name)
    )


@ROUTES("GET", "/api/rooms", takes=NoBody, answers=Rooms)
async def list_rooms(call: Call, _: NoBody) -> Ok:
    """List the rooms of the lobby."""
    return await call.run(commands.ListRooms())


@ROUTES("GET", _ROOM, takes=NoBody, answers=RoomAnswer)
async def get_room(call: Call, _: NoBody) -> Struct:
    """Get one room's lobby entry."""
    return RoomAnswer(room=await call.club.room(call.principal, call.room_id))


@ROUTES("PATCH", f"{_ROOM}/settings", takes=bodies.RoomBody, answers=RoomReply)
async def change_settings(call: Call, body: bodies.RoomBody) -> Ok:
    """Change settings, from the next hand on (host)."""
    return await call.run(commands.ChangeSettings(room_id=call.room_id, settings=body.patch()))


@ROUTES("DELETE", _ROOM, takes=bodies.CloseBody, answers=SeatLeft)
async def close_room(call: Call, body: bodies.CloseBody) -> Ok:
    """Close the room after the current hand (host)."""
    return await call.run(commands.CloseRoom(room_id=call.room_id, reason=body.reason))


@ROUTES("POST", f"{_ROOM}/join", takes=NamedBody, answers=Joined)
async def join(call: Call, body: NamedBody) -> Ok:
    """Ask to be let in."""
    return await call.run(commands.Join(room_id=call.room_id, display_name=body.display_name))


@ROUTES("POST", f"{_ROOM}/approve", takes=bodies.ApproveBody, answers=Changed, about_asker=False)
async def approve(call: Call, body: bodies.ApproveBody) -> Ok:
    """Let a user in, or turn them down (host)."""
    user_id = str(body.user_id)
    if not body.approved:
        return await call.run(commands.Reject(room_id=call.room_id, user_id=user_id))
    return await call.run(commands.Approve(room_id=call.room_id, user_id=user_id))


@ROUTES("POST", f"{_ROOM}/reject", takes=UserBody, answers=Changed, about_asker=False)
async def reject(call: Call, body: UserBody) -> Ok:
    """Turn a user down (host)."""
    return await call.run(commands.Reject(room_id=call.room_id, user_id=str(body.user_id)))


@ROUTES("GET", f"{_ROOM}/membership", takes=MeBody, answers=Membership)
async def get_membership(call: Call, _: MeBody) -> Membership:
    """Say how one stands in the room, with one's rejoin token."""
    return await call.club.membership(call.principal, call.room_id)


@ROUTES("POST", f"{_ROOM}/seat", takes=bodies.SeatBody, answers=RoleTaken)
async def take_seat(call: Call, body: bodies.SeatBody) -> Ok:
    """Take an empty seat with a buy-in from the wallet."""
    return await call.run(
        commands.Seat(
            room_id=call.room_id,
            seat_index=body.seat_index,
            buy_in=body.buy_in,
            display_name=body.display_name,
        )
    )


@ROUTES("DELETE", f"{_ROOM}/seat", takes=MeBody, answers=SeatLeft)
async def leave_seat(call: Call, _: MeBody) -> Ok:
    """Give the seat up, after the current hand if in one."""
    return await call.run(commands.LeaveSeat(room_id=call.room_id))


@ROUTES("POST", f"{_ROOM}/spectate", takes=NamedBody, answers=RoleTaken)
async def spectate(call: Call, body: NamedBody) -> Ok:
    """Watch."""
    return await call.run(commands.Spectate(room_id=call.room_id, display_name=body.display_name))


@ROUTES("DELETE", f"{_ROOM}/spectate", takes=MeBody, answers=SeatLeft)
async def stop_spectating(call: Call, _: MeBody) -> Ok:
    """Stop watching, which leaves the room; or withdraw a request to be let in."""
    # Leaving the room would give up a seat too, which nobody asks for who wants to stop watching.
    membership = await call.club.membership(call.principal, call.room_id)
    if membership.role == "player":
        raise Refused(ErrorCode.CONFLICT, "You have a seat; leave that instead.")
    return await call.run(commands.LeaveRoom(room_id=call.room_id))


@ROUTES("GET", f"{_ROOM}/spectators", takes=NoBody, answers=SpectatorsAnswer)
async def list_spectators(call: Call, _: NoBody) -> Struct:
    """List who watches."""
    found = await call.club.spectators(call.principal, call.room_id)
    return SpectatorsAnswer(spectators=list(found))


@ROUTES("GET", f"{_ROOM}/hydrate", takes=bodies.HydrateQuery, answers=RoomSnapshot)
async def hydrate(call: Call, query: bodies.HydrateQuery) -> Struct:
    """Get the whole room as the asker's role, or a lesser one, sees it."""
    return await call.club.hydrate(call.principal, call.room_id, query.role)


@ROUTES("POST", f"{_ROOM}/kick", takes=bodies.KickBody, answers=SeatLeft, about_asker=False)
async def kick(call: Call, body: bodies.KickBody) -> Ok:
    """Remove a user from the room (host)."""
    return await call.run(
        commands.Kick(room_id=call.room_id, user_id=str(body.user_id), reason=body.reason)
    )


@ROUTES("GET", f"{_ROOM}/bans", takes=NoBody, answers=BansAnswer)
async def list_bans(call: Call, _: NoBody) -> Struct:
    """List who is banned from the room (host)."""
    return BansAnswer(bans=list(await call.club.bans(call.principal, call.room_id)))


@ROUTES("POST", f"{_ROOM}/bans", takes=bodies.KickBody, answers=SeatLeft, about_asker=False)
async def ban(call: Call, body: bodies.KickBody) -> Ok:
    """Keep a user out of the room; who is in it is kicked (host)."""
    return await call.run(
        commands.Ban(room_id=call.room_id, user_id=str(body.user_id), reason=body.reason)
    )


@ROUTES("DELETE", f"{_ROOM}/bans/{{user_id}}", takes=NoBody, answers=Changed, about_asker=False)
async def unban(call: Call, _: NoBody) -> Ok:
    """Lift a ban (host)."""
    return await call.run(commands.Unban(room_id=call.room_id, user_id=call.path["user_id"]))


@ROUTES("POST", f"{_ROOM}/start", takes=MeBody, answers=Changed)
async def start(call: Call, _: MeBody) -> Ok:
    """Start the game, or the next hand (host)."""
    return await call.run(commands.Start(room_id=call.room_id))


@ROUTES("POST", f"{_ROOM}/pause", takes=MeBody, answers=Changed)
async def pause(call: Call, _: MeBody) -> Ok:
    """Stop after the current hand (host)."""
    return await call.run(commands.Pause(room_id=call.room_id))


@ROUTES("POST", f"{_ROOM}/resume", takes=MeBody, answers=Changed)
async def resume(call: Call, _: MeBody) -> Ok:
    """Go on (host)."""
    return await call.run(commands.Resume(room_id=call.room_id))


@ROUTES("POST", f"{_ROOM}/chips", takes=bodies.AdjustBody, answers=StackChanged, about_asker=False)
async def adjust_chips(call: Call, body: bodies.AdjustBody) -> Ok:
    """Change a player's stack against the house, between hands (host)."""
    return await call.run(
        commands.AdjustChips(
            room_id=call.room_id,
            user_id=str(body.user_id),
            delta=body.delta,
            reason=body.reason,
        )
    )


@ROUTES("POST", f"{_ROOM}/topup", takes=bodies.TopUpBody, answers=StackChanged)
async def top_up(call: Call, body: bodies.TopUpBody) -> Ok:
    """Add chips from the wallet to the stack, between hands."""
    return await call.run(commands.TopUp(room_id=call.room_id, amount=body.amount))


@ROUTES("POST", f"{_ROOM}/sit-out", takes=MeBody, answers=Changed)
async def sit_out(call: Call, _: MeBody) -> Ok:
    """Be dealt out from the next hand on."""
    return await call.run(commands.SitOut(room_id=call.room_id))


@ROUTES("POST", f"{_ROOM}/sit-in", takes=MeBody, answers=Changed)
async def sit_in(call: Call, _: MeBody) -> Ok:
    """Be dealt in from the next hand on."""
    return await call.run(commands.SitIn(room_id=call.room_id))


@ROUTES("POST", f"{_ROOM}/run-it", takes=bodies.RunItBody, answers=Changed)
async def run_it(call: Call, body: bodies.RunItBody) -> Ok:
    """Say how often the rest of the board is to be dealt, as a player who is asked."""
    return await call.run(commands.RunIt(room_id=call.room_id, times=body.times))


@ROUTES("POST", f"{_ROOM}/transfer-host", takes=UserBody, answers=Changed, about_asker=False)
async def transfer_host(call: Call, body: UserBody) -> Ok:
    """Hand the room over to another member (host)."""
    return await call.run(commands.TransferHost(room_id=call.room_id, user_id=str(body.user_id)))

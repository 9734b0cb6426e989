"""One message on one batch: let the rules decide it, grant the tokens that follow."""

from actors.room.batch import Batch
from actors.room.messages import Ask
from actors.room.services import RoomServices
from game.decide import InternalCommand, decide, decide_internal, starts_hands
from game.decision import Context
from game.outside import reconcile
from protocol.ids import UserId, player_channel
from protocol.replies import Joined, RoleTaken


def decide_ask(ask: Ask, batch: Batch, services: RoomServices) -> None:
    """Decide a principal's command.

    Raises:
        Refused: the command is not to be; the batch is as it was.
    """
    ctx = _context(ask.command, batch, services, ask.source)
    granted = len(batch.out.grants)
    reply = decide(batch.state, ask.command, ask.principal, ctx, batch.out)
    for grant in batch.out.grants[granted:]:
        token, token_hash = services.new_token()
        batch.grant(
            grant,
            token,
            token_hash,
            life_ms=services.token_life_ms,
            old_life_ms=services.old_token_life_ms,
        )
        if grant.user_id == ask.principal.user_id and isinstance(reply, Joined | RoleTaken):
            reply.rejoin_token = token
    batch.add(ask, reply)


def decide_own(command: InternalCommand, batch: Batch, services: RoomServices) -> None:
    """Decide what the server itself has to say."""
    decide_internal(batch.state, command, _context(command, batch, services, "server"), batch.out)
    batch.add_internal(command)


def decide_outside(batch: Batch, services: RoomServices) -> list[str]:
    """Decide what was written from outside; return what was undone of it, a sentence each."""
    return reconcile(batch.state, _context(None, batch, services, "server"), batch.out)


def _context(command: object, batch: Batch, services: RoomServices, source: str) -> Context:
    settings = batch.state.next_settings or batch.state.settings
    host = UserId(batch.state.host_id)
    return Context(
        now=batch.now,
        hand_interval_ms=services.hand_interval_ms,
        reject_cooldown_ms=services.reject_cooldown_ms,
        seat_offer_ms=services.seat_offer_ms,
        max_members=services.max_members,
        rigging_enabled=services.rigging_enabled,
        deck=services.new_deck(settings.variant) if starts_hands(command) else None,
        source=source,
        host_connected=services.hub.connected(player_channel(host), host),
    )

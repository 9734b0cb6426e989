"""What the player to act may do, by PokerKit's word, and whether a command is that."""

from typing import assert_never

import msgspec

from game.poker.cash_state import CashState
from protocol.errors import ErrorCode, Refused, bad_field
from protocol.values import ActionName, LegalActions


def legal_actions(state: CashState) -> LegalActions:
    """Tell what the actor may do; nothing at all when nobody is to act."""
    if state.actor_index is None:
        return LegalActions(False, False, None, None, None)
    to_call = state.checking_or_calling_amount
    return LegalActions(
        can_fold=True,
        can_check=not to_call,
        call_amount=to_call or None,
        min_raise_to=state.min_completion_betting_or_raising_to_amount,
        max_raise_to=state.max_completion_betting_or_raising_to_amount,
    )


def verify(state: CashState, action: ActionName, amount: int | None) -> int | None:
    """Check the actor's decision, changing nothing.

    Returns:
        What the street bet becomes by a bet or raise, None for anything else.

    Raises:
        Refused: `bad_request` for a bet or raise without an amount, or `illegal_action` with what
            would be legal.
    """
    if action in ("BET", "RAISE") and amount is None:
        raise bad_field("amount", f"{action} needs an amount.")
    legal = legal_actions(state)
    match action:
        case "FOLD":
            return None
        case "CHECK":
            if not legal.can_check:
                raise _illegal("There is a bet to call.", legal)
            return None
        case "CALL":
            if legal.call_amount is None:
                raise _illegal("There is nothing to call.", legal)
            return None
        case "BET" | "RAISE":
            assert amount is not None
            if legal.min_raise_to is None or legal.max_raise_to is None:
                raise _illegal("Betting is not open to this player now.", legal)
            # The other way round is allowed: who was told a `min_raise_to` may raise to it, even if
            # nobody has bet.
            if action == "BET" and max(state.bets):
                raise _illegal("There is a bet already: raise it.", legal)
            if not legal.min_raise_to <= amount <= legal.max_raise_to:
                raise _illegal(
                    f"The street bet may become {legal.min_raise_to} to {legal.max_raise_to}.",
                    legal,
                    field="amount",
                )
            return amount
        case "ALL_IN":
            if legal.max_raise_to is None and legal.call_amount is None:
                raise _illegal("There is nobody left to bet against.", legal)
            return legal.max_raise_to
        case _:
            assert_never(action)


def _illegal(message: str, legal: LegalActions, field: str | None = None) -> Refused:
    details: dict[str, object] = {"legal": msgspec.to_builtins(legal)}
    if field is not None:
        details["field"] = field
    return Refused(ErrorCode.ILLEGAL_ACTION, message, details)

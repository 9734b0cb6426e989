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
    least, most = state.bet_limits
    return LegalActions(
        can_fold=True,
        can_check=not to_call,
        call_amount=to_call or None,
        min_raise_to=least,
        max_raise_to=most,
    )


def verify(
    state: CashState, legal: LegalActions, action: ActionName, amount: int | None
) -> int | None:
    """Check the actor's decision, changing nothing.

    `legal` is what `legal_actions` tells of `state`.

    A bet or raise of a fixed-limit game has one size, so it needs no amount. All-in is refused
    where the limit of the game keeps chips back that the player means to bet. Where betting is
    closed for another reason (nobody to bet against, a short all-in before) it calls.

    Returns:
        What the street bet becomes by a bet or raise, None for anything else.

    Raises:
        Refused: `bad_request` for a bet or raise without an amount, or `illegal_action` with what
            would be legal.
    """
    if action in ("BET", "RAISE") and amount is None and not state.fixed_limit:
        raise bad_field("amount", f"{action} needs an amount.")
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
            if legal.min_raise_to is None or legal.max_raise_to is None:
                raise _illegal("Betting is not open to this player now.", legal)
            # The other way round is allowed: who was told a `min_raise_to` may raise to it, even if
            # nobody has bet.
            if action == "BET" and max(state.bets):
                raise _illegal("There is a bet already: raise it.", legal)
            if amount is None:
                return legal.min_raise_to
            if not legal.min_raise_to <= amount <= legal.max_raise_to:
                raise _illegal(f"The street bet may become {_sizes(legal)}.", legal, "amount")
            return amount
        case "ALL_IN":
            if legal.max_raise_to is None and legal.call_amount is None:
                raise _illegal("There is nobody left to bet against.", legal)
            if state.limit_below_stack:
                raise _illegal(f"The limit is below your stack. {_within(legal)}", legal)
            return legal.max_raise_to
        case _:
            assert_never(action)


def _within(legal: LegalActions) -> str:
    if legal.max_raise_to is None:
        return "There are no more raises on this street."
    return f"The street bet may become {_sizes(legal)}."


def _sizes(legal: LegalActions) -> str:
    low, high = legal.min_raise_to, legal.max_raise_to
    return f"{low}" if low == high else f"{low} to {high}"


def _illegal(message: str, legal: LegalActions, field: str | None = None) -> Refused:
    details: dict[str, object] = {"legal": msgspec.to_builtins(legal)}
    if field is not None:
        details["field"] = field
    return Refused(ErrorCode.ILLEGAL_ACTION, message, details)

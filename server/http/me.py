"""The asker: who they are in the club, and what moved on their accounts."""

from msgspec import Struct

from server.answers import Me
from server.http.answers import LedgerAnswer
from server.http.bodies import LedgerQuery, MeBody
from server.http.calls import Call, Routes

ROUTES = Routes("me")


@ROUTES("GET", "/api/me", takes=MeBody, answers=Me)
async def me(call: Call, _: MeBody) -> Me:
    """Get one's name, role, balance and rooms."""
    return await call.club.accounts.me(call.principal)


@ROUTES("GET", "/api/me/ledger", takes=LedgerQuery, answers=LedgerAnswer)
async def my_ledger(call: Call, query: LedgerQuery) -> Struct:
    """List what moved on one's wallet and stacks, newest first."""
    entries = list(await call.club.accounts.ledger(call.principal, query.before, query.limit))
    more = len(entries) == query.limit
    return LedgerAnswer(entries=entries, next_before=entries[-1].id if more else None)

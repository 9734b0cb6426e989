"""What only staff do: see the floor, wallets, the audit log, rooms out of order."""

from msgspec import Struct

from persistence.accounts import AuditFilters
from server.answers import Overview
from server.http.answers import AuditAnswer, LiftedAnswer, QuarantineAnswer, WalletAnswer
from server.http.bodies import AuditQuery, CreditBody, NoBody, UserRef
from server.http.calls import Call, Routes

ROUTES = Routes("staff")


@ROUTES(
    "GET",
    "/api/staff/overview",
    takes=NoBody,
    answers=Overview,
    access="staff",
    about_asker=False,
)
async def overview(call: Call, _: NoBody) -> Struct:
    """Show every open room: its status, who plays, how many wait; and rooms out of order."""
    return await call.club.staff.overview(call.principal)


@ROUTES(
    "POST",
    "/api/staff/wallets/{user_id}/credit",
    takes=CreditBody,
    answers=WalletAnswer,
    access="staff",
    about_asker=False,
)
async def credit_wallet(call: Call, body: CreditBody) -> Struct:
    """Credit a wallet, or with a negative amount debit it."""
    user_id = call.path["user_id"]
    balance = await call.club.staff.credit_wallet(
        call.principal, user_id, body.amount, body.reason, call.command_id
    )
    return WalletAnswer(user_id=user_id, balance=balance)


@ROUTES(
    "GET",
    "/api/staff/audit",
    takes=AuditQuery,
    answers=AuditAnswer,
    access="staff",
    about_asker=False,
)
async def audit_log(call: Call, query: AuditQuery) -> Struct:
    """List who did what, newest first."""
    filters = AuditFilters(
        user_id=_text(query.user_id),
        subject_id=_text(query.subject_id),
        room_id=query.room_id,
        action=query.action,
        before=query.before,
        limit=query.limit,
    )
    entries = list(await call.club.staff.audit_log(call.principal, filters))
    more = len(entries) == query.limit
    return AuditAnswer(entries=entries, next_before=entries[-1].id if more else None)


@ROUTES(
    "GET",
    "/api/staff/rooms/quarantined",
    takes=NoBody,
    answers=QuarantineAnswer,
    access="staff",
    about_asker=False,
)
async def quarantined_rooms(call: Call, _: NoBody) -> Struct:
    """List the rooms that crashed too often and wait for an operator."""
    return QuarantineAnswer(rooms=list(await call.club.staff.quarantined_rooms(call.principal)))


@ROUTES(
    "POST",
    "/api/staff/rooms/{room_id}/lift",
    takes=NoBody,
    answers=LiftedAnswer,
    access="staff",
    about_asker=False,
)
async def lift_room(call: Call, _: NoBody) -> Struct:
    """Let a quarantined room go on."""
    await call.club.staff.lift_room(call.principal, call.room_id)
    return LiftedAnswer(room_id=call.room_id)


def _text(user_id: UserRef | None) -> str | None:
    return None if user_id is None else str(user_id)

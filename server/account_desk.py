"""The accounts as the club's front desk knows them: who has a wallet, and what moved on it."""

from collections import OrderedDict

from persistence import accounts
from persistence.accounts import LedgerLine, Newcomer
from protocol.principal import Principal
from server.answers import Me
from server.clock import now_ms
from server.club_database import ClubDatabase

KNOWN_USERS = 100_000


class AccountDesk:
    """Opens wallets, and tells their owners of them.

    Args:
        database: the database.
        starting_balance: chips of a new wallet.
    """

    def __init__(self, database: ClubDatabase, starting_balance: int) -> None:
        self._database = database
        self._starting_balance = starting_balance
        self._known_users: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._known_staff: OrderedDict[str, bool] = OrderedDict()

    async def welcome(self, principal: Principal) -> None:
        """See to it that a user has a wallet, and stands on the list of the staff who get push
        notifications or does not; at once for one seen before.

        Raises:
            Refused: `unavailable`.
        """
        # A rejoin token (it has no end of its own) says nothing of the role in the club.
        staff = None if principal.expires_at is None else principal.is_staff
        key = (principal.user_id, principal.name)
        role_known = staff in (None, self._known_staff.get(principal.user_id))
        if key in self._known_users and role_known:
            return
        newcomer = Newcomer(principal.user_id, principal.name, staff)
        async with self._database.use() as pool:
            if not await self._database.knows(newcomer):
                await accounts.ensure_wallet(
                    pool,
                    principal.user_id,
                    principal.name,
                    self._starting_balance,
                    now_ms(),
                    staff=staff,
                )
        self._known_users[key] = None
        if staff is not None:
            self._known_staff[principal.user_id] = staff
        for known in (self._known_users, self._known_staff):
            if len(known) > KNOWN_USERS:
                known.popitem(last=False)

    async def me(self, principal: Principal) -> Me:
        """Tell the asker who they are, what they have and where they are.

        Raises:
            Refused: `unavailable`.
        """
        await self.welcome(principal)
        async with self._database.use() as pool:
            balance = await accounts.balance(pool, principal.user_id)
            rooms = await accounts.rooms_of(pool, principal.user_id)
        return Me(
            user_id=principal.user_id,
            name=principal.name,
            role=principal.role,
            balance=balance or 0,
            rooms=rooms,
        )

    async def ledger(
        self, principal: Principal, before: int | None, limit: int
    ) -> list[LedgerLine]:
        """List the asker's own entries, newest first.

        Raises:
            Refused: `unavailable`.
        """
        async with self._database.use() as pool:
            return await accounts.ledger(pool, principal.user_id, before, limit)

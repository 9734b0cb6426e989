"""The accounts as the club's front desk knows them: who has a wallet, and what moved on it."""

from collections import OrderedDict

from persistence import accounts
from persistence.accounts import LedgerLine
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

    async def welcome(self, principal: Principal) -> None:
        """See to it that a user has a wallet; at once for one seen before.

        Raises:
            Refused: `unavailable`.
        """
        key = (principal.user_id, principal.name)
        if key in self._known_users:
            return
        async with self._database.use() as pool:
            await accounts.ensure_wallet(
                pool, principal.user_id, principal.name, self._starting_balance, now_ms()
            )
        self._known_users[key] = None
        if len(self._known_users) > KNOWN_USERS:
            self._known_users.popitem(last=False)

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

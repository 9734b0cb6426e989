"""Who somebody is, as it is signed, and what is theirs."""

import msgspec

from protocol.ids import UserId
from protocol.principal import MAX_USER_ID_CHARS, Principal
from server.pusher.channels import Found
from server.pusher.messages import UserData


def may_have(principal: Principal, found: Found) -> bool:
    """Say whether a channel is somebody's own."""
    return principal.is_staff if found.owner is None else found.owner == principal.user_id


def user_data_of(principal: Principal) -> str:
    """Write who somebody is, to be signed."""
    data = {
        "id": principal.user_id,
        "user_info": {"name": principal.name},
        "role": principal.role,
    }
    return msgspec.json.encode(data).decode()


def principal_of(user_data: str) -> Principal | None:
    """Read who somebody is from what was signed; None where that is nobody."""
    try:
        data = msgspec.json.decode(user_data, type=UserData)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not 1 <= len(data.id) <= MAX_USER_ID_CHARS:
        return None
    return Principal(
        user_id=UserId(data.id),
        name=data.id,
        role="staff" if data.role == "staff" else "player",
    )

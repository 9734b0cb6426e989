"""Errors of authentication.

Unauthenticated
└── KeysUnavailable
"""


class Unauthenticated(Exception):
    """Who somebody is could not be proven.

    `reason` is one of a few fixed phrases and holds nothing of the token, so that it may be logged
    and told to the client.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class KeysUnavailable(Unauthenticated):
    """The identity provider's keys cannot be had now: the same token may be good later."""

    def __init__(self) -> None:
        super().__init__("the identity provider's keys are unavailable")

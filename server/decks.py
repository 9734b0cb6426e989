"""Decks from the operating system's own randomness."""

from collections.abc import Callable
from math import factorial
from secrets import randbelow

from game.poker.variants import VARIANTS


def shuffled_deck(variant: str) -> tuple[str, ...]:
    """Shuffle a whole deck of a variant, every order being as likely as any other."""
    return permuted(VARIANTS[variant].deck, randbelow)


def permuted(cards: tuple[str, ...], below: Callable[[int], int]) -> tuple[str, ...]:
    """Put cards into the order that one number drawn by `below` stands for.

    One draw below 52! in place of 51 small ones: each of those would be a system call.
    """
    order, number = list(cards), below(factorial(len(cards)))
    # Fisher and Yates, whose choices are the digits of the number in the factorial number system.
    for last in range(len(order) - 1, 0, -1):
        number, chosen = divmod(number, last + 1)
        order[last], order[chosen] = order[chosen], order[last]
    return tuple(order)

"""Decks from the operating system's own randomness."""

from random import SystemRandom

from game.poker.variants import VARIANTS

_SHUFFLER = SystemRandom()


def shuffled_deck(variant: str) -> tuple[str, ...]:
    """Shuffle a whole deck of a variant."""
    deck = list(VARIANTS[variant].deck)
    _SHUFFLER.shuffle(deck)
    return tuple(deck)

"""Cards as two characters on the wire and as PokerKit's values inside the rules.

Each of the 52 cards exists once: PokerKit then finds a card by identity, which is many times
cheaper than comparing its ranks and suits.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from pokerkit import Card, Deck

CARDS: Mapping[str, Card] = MappingProxyType({repr(card): card for card in Deck.STANDARD})
"""Every card by its two characters, rank then suit, such as ``Ah``."""


def parse(cards: Iterable[str]) -> tuple[Card, ...]:
    """Turn two-character strings into cards; a `KeyError` names what is no card."""
    return tuple(CARDS[text] for text in cards)


def texts(cards: Iterable[Card]) -> list[str]:
    """Turn cards into their two-character strings, in the same order."""
    return [card.rank + card.suit for card in cards]


def check_deck(cards: Iterable[str], deck: Iterable[str]) -> None:
    """Make sure that `cards` is `deck` in some order: each card there, and once.

    Raises:
        ValueError: if it is not. The text names no card: a deck is secret.
    """
    given = list(cards)
    wanted = set(deck)
    if len(given) != len(wanted) or set(given) != wanted:
        raise ValueError("this is not the whole deck with every card once")

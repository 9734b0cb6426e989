"""Shuffling: every order of a deck, and each from one number."""

from collections import Counter
from itertools import permutations
from math import factorial

import pytest

from game.poker.variants import VARIANTS
from server.decks import permuted, shuffled_deck


def test_each_number_stands_for_another_order_and_each_order_has_one() -> None:
    cards = ("Ah", "Kd", "2c", "7s", "Td")
    asked: list[int] = []

    def drawing(number: int) -> tuple[str, ...]:
        def below(most: int) -> int:
            asked.append(most)
            return number

        return permuted(cards, below)

    orders = Counter(drawing(number) for number in range(factorial(5)))
    assert set(orders) == set(permutations(cards))
    assert set(orders.values()) == {1}
    assert set(asked) == {factorial(5)}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_shuffled_deck_is_the_variants_whole_deck_in_another_order(variant: str) -> None:
    deck = VARIANTS[variant].deck
    first, second = shuffled_deck(variant), shuffled_deck(variant)
    assert sorted(first) == sorted(second) == sorted(deck)
    assert len({deck, first, second}) == 3

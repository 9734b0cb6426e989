-- The deck of hand {hand_id} is not the whole deck of its variant ({variant}).
-- No card leaves this query: a deck stays secret. Parameter: decks, each variant's whole deck.
SELECT h.id AS hand_id, h.room_id, h.variant
FROM hands h
WHERE (SELECT string_agg(c, '' ORDER BY c COLLATE "C") FROM unnest(cards(h.deck)) c)
      IS DISTINCT FROM %(decks)s::jsonb ->> h.variant
   OR length(h.deck) IS DISTINCT FROM length(%(decks)s::jsonb ->> h.variant)
ORDER BY h.id

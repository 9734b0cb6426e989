-- The stack of {user_id} in room {room_id} is {there}, its entries sum to {booked} (sitting {sitting_id}).
-- Bets of a running hand are booked when it ends: until then its players have what they began with.
SELECT sitting_id, coalesce(s.user_id, l.user_id) AS user_id,
       coalesce(s.room_id, l.room_id) AS room_id,
       coalesce(there, 0) AS there, coalesce(booked, 0)::bigint AS booked
FROM (SELECT s.sitting_id, s.user_id, s.room_id, coalesce(p.starting_stack, s.chips) AS there
      FROM room_seats s
      LEFT JOIN hands h ON h.room_id = s.room_id AND h.ended_at IS NULL
      LEFT JOIN players p ON p.hand_id = h.id AND p.user_id = s.user_id) s
FULL JOIN (SELECT sitting_id, min(user_id) AS user_id, min(room_id) AS room_id,
                  sum(amount) AS booked
           FROM ledger_entries WHERE account = 'stack' GROUP BY sitting_id) l USING (sitting_id)
WHERE coalesce(there, 0) <> coalesce(booked, 0)
ORDER BY sitting_id

-- The pot of running hand {hand_id} is {pot}, its players have put in {put_in}.
SELECT h.id AS hand_id, h.room_id, h.pot,
       coalesce(sum(p.starting_stack - s.chips), 0)::bigint AS put_in
FROM hands h
LEFT JOIN players p ON p.hand_id = h.id
LEFT JOIN room_seats s ON s.room_id = h.room_id AND s.user_id = p.user_id
WHERE h.ended_at IS NULL
GROUP BY h.id
HAVING h.pot <> coalesce(sum(p.starting_stack - s.chips), 0)
ORDER BY h.id

-- The rake of hand {hand_id} is {rake}, booked is {booked}, its players lost {lost} together.
SELECT h.id AS hand_id, h.room_id, h.rake, coalesce(l.booked, 0)::bigint AS booked,
       coalesce(p.lost, 0)::bigint AS lost
FROM hands h
LEFT JOIN (SELECT hand_id, sum(amount) AS booked FROM ledger_entries
           WHERE account = 'house' AND kind = 'rake' GROUP BY hand_id) l ON l.hand_id = h.id
LEFT JOIN (SELECT hand_id, sum(starting_stack - final_stack) AS lost FROM players
           GROUP BY hand_id) p ON p.hand_id = h.id
WHERE h.rake <> coalesce(l.booked, 0) OR h.rake <> coalesce(p.lost, 0)
ORDER BY h.id

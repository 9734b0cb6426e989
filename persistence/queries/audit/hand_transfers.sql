-- In hand {hand_id} the stack of {user_id} changed by {played}, booked is {booked}.
SELECT hand_id, user_id, coalesce(played, 0) AS played, coalesce(booked, 0)::bigint AS booked
FROM (SELECT hand_id, user_id, final_stack - starting_stack AS played FROM players) p
FULL JOIN (SELECT hand_id, user_id, sum(amount) AS booked FROM ledger_entries
           WHERE account = 'stack' AND kind = 'hand'
           GROUP BY hand_id, user_id) l USING (hand_id, user_id)
WHERE coalesce(played, 0) <> coalesce(booked, 0)
ORDER BY hand_id, user_id

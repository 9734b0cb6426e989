-- Hand {hand_id} has ended: {ended}; the final stack of {user_id} is {final_stack}.
SELECT h.id AS hand_id, h.room_id, h.ended_at IS NOT NULL AS ended, p.user_id, p.final_stack
FROM hands h
JOIN players p ON p.hand_id = h.id
WHERE (h.ended_at IS NULL) <> (p.final_stack IS NULL)
ORDER BY h.id, p.position

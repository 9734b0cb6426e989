-- In running hand {hand_id}, {user_id} was dealt in at seat {seat_index} and does not sit there.
SELECT h.id AS hand_id, h.room_id, p.user_id, p.seat_index
FROM hands h
JOIN players p ON p.hand_id = h.id
LEFT JOIN room_seats s
    ON s.room_id = h.room_id AND s.seat_index = p.seat_index AND s.user_id = p.user_id
WHERE h.ended_at IS NULL AND s.user_id IS NULL
ORDER BY h.id, p.position

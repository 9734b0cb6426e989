-- Room {room_id} is {status} and has {running} running hands.
SELECT r.id AS room_id, r.status, count(*) AS running
FROM rooms r
JOIN hands h ON h.room_id = r.id AND h.ended_at IS NULL
GROUP BY r.id
HAVING count(*) > 1 OR r.status = 'closed'
ORDER BY r.id

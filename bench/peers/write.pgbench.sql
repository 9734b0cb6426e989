-- What a command writes, as `pgbench` runs it: each client has a room of its own and believes what it
-- has counted itself.
\set room :client_id + 1
\set believed :believed + 1
WITH advanced AS (
    UPDATE game_states SET seq = seq + 1 WHERE room_id = :room AND seq = :believed - 1 RETURNING seq
), told AS (
    INSERT INTO room_events (room_id, seq, type, payload)
    SELECT :room, seq, 'event', '{"type":"event","channel":"room:1","seq":1,"at":1700000000000,"seat_index":0,"user_id":"r1p0","status":"active"}'
    FROM advanced
)
UPDATE room_seats SET status = 'active', last_seen_at = now()
WHERE room_id = :room AND seat_index = 0 AND EXISTS (SELECT FROM advanced);

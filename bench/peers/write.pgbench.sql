-- What a command writes, as `pgbench` runs it: each client has a room of its own and believes what it
-- has counted itself.
\set room :client_id + 1
\set believed :believed + 1
WITH advanced AS (
    UPDATE game_states SET seq = seq + 1, updated_at = now()
    WHERE room_id = room_id(:room) AND seq = :believed - 1
    RETURNING room_id, seq
), told AS (
    INSERT INTO room_events (room_id, seq, at, type, payload)
    SELECT room_id, seq, now(), 'player_sat_out', '{"reason":"asked","seat_index":0,"user_id":"r1u0"}'
    FROM advanced
)
UPDATE room_seats SET status = 'sitting_out', last_seen_at = now()
WHERE room_id = room_id(:room) AND seat_index = 0 AND EXISTS (SELECT FROM advanced);

-- Room {room_id} is at seq {seq}; it keeps {kept} events, from {first} to {last}.
-- Old events are deleted, so what is kept may begin anywhere and there may be none.
SELECT g.room_id, g.seq, count(*) AS kept, min(e.seq) AS first, max(e.seq) AS last
FROM game_states g
JOIN room_events e USING (room_id)
GROUP BY g.room_id
HAVING max(e.seq) <> g.seq OR min(e.seq) < 1 OR max(e.seq) - min(e.seq) + 1 <> count(*)
ORDER BY g.room_id

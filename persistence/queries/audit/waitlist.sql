-- The waitlist of room {room_id} has {live} live entries, at positions {positions}.
SELECT table_id AS room_id, count(*) AS live,
       string_agg(coalesce(position::text, 'none'), ', ' ORDER BY position) AS positions
FROM waitlist
WHERE status IN ('waiting', 'called')
GROUP BY table_id
HAVING count(DISTINCT position) <> count(*) OR min(position) <> 1 OR max(position) <> count(*)
ORDER BY table_id

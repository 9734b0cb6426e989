-- Room {room_id} has {hands} hands, numbered up to {last}; its game has counted {counted}.
SELECT g.room_id, count(h.id) AS hands, coalesce(max(h.number), 0) AS last,
       g.hands_played AS counted
FROM games g
LEFT JOIN hands h ON h.game_id = g.id
GROUP BY g.id
HAVING count(h.id) <> g.hands_played OR coalesce(max(h.number), 0) <> g.hands_played
ORDER BY g.room_id

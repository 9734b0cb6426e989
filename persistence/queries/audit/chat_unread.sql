-- Of chat session {session_id} the player has not read {unread_by_player} and staff {unread_by_staff} messages, by its messages {player} and {staff}.
-- What was written from outside and not told yet is not counted yet.
SELECT s.id AS session_id, s.player_id, s.unread_by_player, s.unread_by_staff,
       count(m.id) FILTER (WHERE m.sender <> 'player') AS player,
       count(m.id) FILTER (WHERE m.sender = 'player') AS staff
FROM chat_sessions s
LEFT JOIN chat_messages m ON m.session_id = s.id AND m.status <> 'read' AND m.seq IS NOT NULL
WHERE NOT EXISTS (SELECT FROM outside_chat_writes o WHERE o.session_id = s.id)
GROUP BY s.id
HAVING s.unread_by_player <> count(m.id) FILTER (WHERE m.sender <> 'player')
    OR s.unread_by_staff <> count(m.id) FILTER (WHERE m.sender = 'player')
ORDER BY s.id

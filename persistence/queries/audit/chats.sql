-- Chat session {session_id} is at {seq}, its messages go from {first} to {last}; {unread_by_player} and {unread_by_staff} are said to be unread by player and staff, {by_player} and {by_staff} are.
-- What came by SQL has no seq until it is told, and is counted then.
SELECT s.id AS session_id, s.seq, min(m.seq) AS first, max(m.seq) AS last,
       unread_by_player, unread_by_staff,
       count(*) FILTER (WHERE m.sender <> 'player' AND m.status <> 'read') AS by_player,
       count(*) FILTER (WHERE m.sender = 'player' AND m.status <> 'read') AS by_staff
FROM chat_sessions s
JOIN chat_messages m ON m.session_id = s.id AND m.seq IS NOT NULL
GROUP BY s.id
HAVING max(m.seq) > s.seq
    OR unread_by_player <> count(*) FILTER (WHERE m.sender <> 'player' AND m.status <> 'read')
    OR unread_by_staff <> count(*) FILTER (WHERE m.sender = 'player' AND m.status <> 'read')
ORDER BY s.id

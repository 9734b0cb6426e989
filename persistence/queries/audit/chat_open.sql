-- Player {player_id} has {open} open chat sessions.
SELECT player_id, count(*) AS open
FROM chat_sessions
WHERE status <> 'resolved'
GROUP BY player_id
HAVING count(*) > 1
ORDER BY player_id

-- Chat session {session_id} is at seq {seq}; {messages} messages have {seqs} different ones, from {first} to {last}.
SELECT s.id AS session_id, s.player_id, s.seq, count(*) AS messages,
       count(DISTINCT m.seq) AS seqs, min(m.seq) AS first, max(m.seq) AS last
FROM chat_sessions s
JOIN chat_messages m ON m.session_id = s.id AND m.seq IS NOT NULL
GROUP BY s.id
HAVING count(DISTINCT m.seq) <> count(*) OR min(m.seq) < 1 OR max(m.seq) > s.seq
ORDER BY s.id

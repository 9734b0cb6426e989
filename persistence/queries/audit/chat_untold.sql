-- Message {message_id} of chat session {session_id} was never told, and nobody is going to.
SELECT m.id AS message_id, m.session_id, m.player_id
FROM chat_messages m
WHERE m.seq IS NULL
  AND NOT EXISTS (SELECT FROM outside_chat_writes o WHERE o.session_id = m.session_id)
ORDER BY m.session_id, m.id

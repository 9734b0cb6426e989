-- In chat session {session_id}, message {message_id} (seq {seq}) is dated before the one that was told before it.
SELECT session_id, player_id, message_id, seq
FROM (SELECT session_id, player_id, id AS message_id, seq, "timestamp",
             lag("timestamp") OVER (PARTITION BY session_id ORDER BY seq) AS before
      FROM chat_messages WHERE seq IS NOT NULL) m
WHERE "timestamp" < before
ORDER BY session_id, seq

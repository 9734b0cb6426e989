-- Message {message_id} of chat session {session_id} is {status}; it was received: {received}; it was read: {read}.
SELECT id AS message_id, session_id, player_id, status, received_at IS NOT NULL AS received,
       read_at IS NOT NULL AS read
FROM chat_messages
WHERE (status = 'read') <> (read_at IS NOT NULL) OR (status <> 'sent') <> (received_at IS NOT NULL)
ORDER BY session_id, id

-- Chat session {session_id} is {status}; it was resolved: {resolved}; it is given to {assigned_staff}, by name: {named}.
SELECT s.id AS session_id, s.player_id, s.status, s.resolved_at IS NOT NULL AS resolved,
       s.assigned_staff, s.assigned_staff_name IS NOT NULL AS named
FROM chat_sessions s
WHERE ((s.status = 'resolved') <> (s.resolved_at IS NOT NULL)
       OR (s.assigned_staff IS NULL) <> (s.assigned_staff_name IS NULL))
  AND NOT EXISTS (SELECT FROM outside_chat_writes o WHERE o.session_id = s.id)
ORDER BY s.id

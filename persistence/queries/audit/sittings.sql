-- Sitting {sitting_id}: {user_id} has a seat in room {room_id}: {seated}; the sitting lasts: {open}.
SELECT sitting_id, coalesce(s.user_id, o.user_id) AS user_id,
       coalesce(s.room_id, o.room_id) AS room_id,
       s.user_id IS NOT NULL AS seated, o.user_id IS NOT NULL AS open
FROM room_seats s
FULL JOIN (SELECT id AS sitting_id, user_id, room_id FROM sittings WHERE ended_at IS NULL) o
    USING (sitting_id, user_id, room_id)
WHERE s.user_id IS NULL OR o.user_id IS NULL
ORDER BY sitting_id

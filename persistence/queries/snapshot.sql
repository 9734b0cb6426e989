-- Rooms, whole, and what concerns single users of them: a single statement, so a single snapshot of
-- the database. Parameters: rooms (ids, each once), asked_rooms and asked_users (pairs), recent (how
-- many actions). Each row is a room's id, what all see alike, and what is each of its pairs' own, by
-- the pair's place, from 1 up. Times come in milliseconds.
SELECT r.id, jsonb_build_object(
    'seq', g.seq,
    'state', g.current_state,
    'room', to_jsonb(r) - ARRAY['owner_node', 'owner_epoch', 'rigged_deck', 'closing', 'closed_at']
            || jsonb_build_object('created_at', to_ms(r.created_at)),
    'rigged', r.rigged_deck IS NOT NULL,
    'seats', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                  'seat_index', s.seat_index, 'user_id', s.user_id,
                  'display_name', s.display_name, 'chips', s.chips, 'status', s.status,
                  'connected', s.connected, 'last_seen_at', to_ms(s.last_seen_at),
                  'leaving', s.leaving) ORDER BY s.seat_index), '[]')
              FROM room_seats s WHERE s.room_id = r.id),
    'spectators', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                       'user_id', w.user_id, 'display_name', w.display_name)
                       ORDER BY w.user_id), '[]')
                   FROM room_spectators w WHERE w.room_id = r.id),
    'pending', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                    'user_id', m.user_id, 'display_name', m.display_name,
                    'requested_at', to_ms(m.requested_at)) ORDER BY m.requested_at), '[]')
                FROM room_players m WHERE m.room_id = r.id AND m.status = 'pending'),
    'bans', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                 'user_id', b.user_id, 'reason', b.reason, 'banned_by', b.banned_by,
                 'banned_at', to_ms(b.banned_at)) ORDER BY b.banned_at, b.user_id), '[]')
             FROM room_bans b WHERE b.room_id = r.id),
    'recent_actions', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                           'hand_id', a.hand_id, 'seq', a.seq, 'seat_index', a.seat_index,
                           'user_id', a.user_id, 'action', a.action, 'amount', a.amount,
                           'auto', a.auto, 'at', to_ms(a.at)) ORDER BY a.seq), '[]')
                       FROM (SELECT * FROM actions WHERE room_id = r.id
                             ORDER BY seq DESC LIMIT %(recent)s) a),
    'waitlist', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                     'id', q.id, 'player_id', q.player_id, 'player_name', q.player_name,
                     'position', q.place, 'status', q.status, 'seat_number', q.seat_number,
                     'seat_index', q.seat_index, 'expires_at', to_ms(q.expires_at),
                     'created_at', to_ms(q.created_at)) ORDER BY q.place), '[]')
                 -- Derived: while two write at once, the places as stored may have a hole.
                 FROM (SELECT w.*, row_number() OVER (ORDER BY position, created_at, id) AS place
                       FROM waitlist w
                       WHERE w.table_id = r.id AND w.status IN ('waiting', 'called')) q)
)::text,
(SELECT jsonb_object_agg(asked.n::text, jsonb_build_object(
     'member', (SELECT jsonb_build_object('display_name', m.display_name, 'status', m.status)
                FROM room_players m WHERE m.room_id = r.id AND m.user_id = asked.user_id),
     'hole_cards', (SELECT to_jsonb(p.hole_cards)
                    FROM hands h JOIN players p ON p.hand_id = h.id AND p.user_id = asked.user_id
                    WHERE h.room_id = r.id AND h.ended_at IS NULL)))
 FROM unnest(%(asked_rooms)s::text[], %(asked_users)s::text[]) WITH ORDINALITY
          AS asked (room_id, user_id, n)
 WHERE asked.room_id = r.id)::text
FROM rooms r JOIN game_states g ON g.room_id = r.id
WHERE r.id = ANY(%(rooms)s::text[])

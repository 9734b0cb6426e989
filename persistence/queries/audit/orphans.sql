-- A row of {child} ({key}) belongs to {parent} {parent_key}, which is not there.
SELECT child, key, parent, parent_key
FROM (
    SELECT 'rooms' AS child, r.id AS key, 'game_states' AS parent, r.id AS parent_key
    FROM rooms r WHERE NOT EXISTS (SELECT FROM game_states g WHERE g.room_id = r.id)
UNION ALL
    SELECT 'hands', h.id, 'rooms', h.room_id
    FROM hands h WHERE NOT EXISTS (SELECT FROM rooms r WHERE r.id = h.room_id)
UNION ALL
    SELECT 'hands', h.id, 'games', h.game_id
    FROM hands h
    WHERE NOT EXISTS (SELECT FROM games g WHERE g.id = h.game_id AND g.room_id = h.room_id)
UNION ALL
    SELECT 'hands', h.id, 'players', h.id
    FROM hands h WHERE NOT EXISTS (SELECT FROM players p WHERE p.hand_id = h.id)
UNION ALL
    SELECT 'players', p.hand_id || ', seat ' || p.seat_index, 'hands', p.hand_id
    FROM players p
    WHERE NOT EXISTS (SELECT FROM hands h WHERE h.id = p.hand_id AND h.room_id = p.room_id)
UNION ALL
    SELECT 'actions', a.hand_id || ', ' || a.ordinal, 'players', a.hand_id || ', seat ' || a.seat_index
    FROM actions a
    WHERE NOT EXISTS (SELECT FROM players p
                      WHERE p.hand_id = a.hand_id AND p.seat_index = a.seat_index
                        AND p.user_id = a.user_id AND p.room_id = a.room_id)
UNION ALL
    SELECT 'room_events', 'seq ' || min(e.seq) || ' to ' || max(e.seq), 'game_states', e.room_id
    FROM room_events e
    WHERE NOT EXISTS (SELECT FROM game_states g WHERE g.room_id = e.room_id)
    GROUP BY e.room_id
UNION ALL
    SELECT 'sittings', s.id, 'rooms', s.room_id
    FROM sittings s WHERE NOT EXISTS (SELECT FROM rooms r WHERE r.id = s.room_id)
UNION ALL
    SELECT 'sittings', s.id, 'wallets', s.user_id
    FROM sittings s WHERE NOT EXISTS (SELECT FROM wallets w WHERE w.user_id = s.user_id)
UNION ALL
    SELECT 'rejoin_tokens', t.id::text, 'rooms', t.room_id
    FROM rejoin_tokens t WHERE NOT EXISTS (SELECT FROM rooms r WHERE r.id = t.room_id)
UNION ALL
    SELECT 'outside_writes', o.id::text, 'rooms', o.room_id
    FROM outside_writes o WHERE NOT EXISTS (SELECT FROM rooms r WHERE r.id = o.room_id)
UNION ALL
    SELECT 'commands', c.command_id::text, 'rooms', c.room_id
    FROM commands c
    WHERE c.room_id IS NOT NULL AND NOT EXISTS (SELECT FROM rooms r WHERE r.id = c.room_id)
      AND NOT EXISTS (SELECT FROM chat_sessions s WHERE s.id = c.room_id)
UNION ALL
    SELECT 'chat_messages', m.id, 'chat_sessions', m.session_id
    FROM chat_messages m
    WHERE NOT EXISTS (SELECT FROM chat_sessions s
                      WHERE s.id = m.session_id AND s.player_id = m.player_id)
UNION ALL
    SELECT 'ledger_entries', l.id::text, 'rooms', l.room_id
    FROM ledger_entries l
    WHERE l.room_id IS NOT NULL AND NOT EXISTS (SELECT FROM rooms r WHERE r.id = l.room_id)
UNION ALL
    SELECT 'ledger_entries', l.id::text, 'hands', l.hand_id
    FROM ledger_entries l
    WHERE l.hand_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM hands h WHERE h.id = l.hand_id AND h.room_id = l.room_id)
UNION ALL
    SELECT 'ledger_entries', l.id::text, 'sittings', coalesce(l.sitting_id, 'null')
    FROM ledger_entries l
    WHERE l.account = 'stack'
      AND NOT EXISTS (SELECT FROM sittings s
                      WHERE s.id = l.sitting_id AND s.room_id = l.room_id
                        AND s.user_id = l.user_id)
UNION ALL
    SELECT 'ledger_entries', l.id::text, 'wallets', coalesce(l.user_id, 'null')
    FROM ledger_entries l
    WHERE l.account IN ('wallet', 'stack')
      AND NOT EXISTS (SELECT FROM wallets w WHERE w.user_id = l.user_id)
) o
ORDER BY child, key, parent

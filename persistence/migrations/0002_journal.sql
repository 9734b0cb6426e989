-- Group commit: one call writes the units of many rooms, all or none.
--
-- `batch` maps each kind of row to an array of rows, each row an array of that kind's fields in the
-- order in which game/changes.py declares them. One JSON parameter for everything keeps the work
-- per command out of the server process, and the call is one round trip.

-- The fence: advances the rooms of a batch, or raises naming (in the error's detail) those that are
-- no longer at the seq and epoch that their writer believes.
-- A row: room_id, epoch, seq, next_seq, unit_id, state.
CREATE FUNCTION advance_rooms(believed jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    advanced text[];
BEGIN
    WITH b AS (
        SELECT r ->> 0 AS room_id, (r ->> 1)::bigint AS epoch, (r ->> 2)::bigint AS seq,
               (r ->> 3)::bigint AS next_seq, (r ->> 4)::bigint AS unit_id, r -> 5 AS state
        FROM jsonb_array_elements(believed) r
    ), done AS (
        UPDATE game_states g
        SET seq = b.next_seq, unit_id = b.unit_id, current_state = b.state,
            updated_at = clock_timestamp()
        FROM b
        WHERE g.room_id = b.room_id AND g.seq = b.seq AND g.owner_epoch = b.epoch
        RETURNING g.room_id
    )
    SELECT coalesce(array_agg(room_id), '{}') INTO advanced FROM done;
    IF cardinality(advanced) <> jsonb_array_length(believed) THEN
        RAISE EXCEPTION 'superseded' USING
            ERRCODE = 'CR001',
            DETAIL = (SELECT coalesce(string_agg(r ->> 0, E'\n'), '')
                      FROM jsonb_array_elements(believed) r WHERE r ->> 0 <> ALL (advanced));
    END IF;
END $$;

-- Cards run together in one string, such as AhTd2c, as an array of cards.
CREATE FUNCTION cards(run text) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY(SELECT m[1] FROM regexp_matches(run, '..', 'g') m);

CREATE FUNCTION commit_batch(batch jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM advance_rooms(batch -> 'Advance');

    INSERT INTO room_events (room_id, seq, at, type, payload)
    SELECT r ->> 0, (r ->> 1)::bigint, from_ms((r ->> 2)::bigint), r ->> 3,
           (r -> 4) - ARRAY['type', 'channel', 'seq', 'at']
    FROM jsonb_array_elements(batch -> 'EventTold') r;

    IF batch ? 'ActionDone' THEN
        INSERT INTO actions (hand_id, ordinal, room_id, seq, seat_index, user_id, action, amount,
                             raise_to, auto, at)
        SELECT r ->> 0, (r ->> 1)::integer, r ->> 2, (r ->> 3)::bigint, (r ->> 4)::smallint,
               r ->> 5, r ->> 6, (r ->> 7)::bigint, (r ->> 8)::bigint, (r ->> 9)::boolean,
               from_ms((r ->> 10)::bigint)
        FROM jsonb_array_elements(batch -> 'ActionDone') r;
    END IF;

    IF batch ? 'SeatPlay' THEN
        UPDATE room_seats s
        SET chips = (r ->> 2)::bigint, time_bank_ms = (r ->> 3)::bigint,
            clock_outs = (r ->> 4)::smallint
        FROM jsonb_array_elements(batch -> 'SeatPlay') r
        WHERE s.room_id = r ->> 0 AND s.seat_index = (r ->> 1)::smallint;
    END IF;

    IF batch ? 'HandOpened' THEN
        -- A hand that ends makes room for the one that its room opens in the same unit.
        UPDATE hands h SET ended_at = from_ms((r ->> 8)::bigint)
        FROM jsonb_array_elements(batch -> 'HandPlay') r
        WHERE h.id = r ->> 0 AND r ->> 8 IS NOT NULL;

        INSERT INTO hands (id, room_id, game_id, number, variant, deck, button_seat,
                           small_blind_seat, big_blind_seat, small_blind, big_blind, ante,
                           rake_basis_points, rake_cap, started_at,
                           board, pot, current_bet, phase, rake)
        SELECT r ->> 0, r ->> 1, r ->> 2, (r ->> 3)::integer, r ->> 4, r ->> 5,
               (r ->> 6)::smallint, (r ->> 7)::smallint, (r ->> 8)::smallint, (r ->> 9)::bigint,
               (r ->> 10)::bigint, (r ->> 11)::bigint, (r ->> 12)::integer, (r ->> 13)::bigint,
               from_ms((r ->> 14)::bigint), '{}', 0, 0, 'preflop', 0
        FROM jsonb_array_elements(batch -> 'HandOpened') r;
    END IF;

    IF batch ? 'HandPlay' THEN
        UPDATE hands h
        SET board = cards(r ->> 1), pot = (r ->> 2)::bigint, current_bet = (r ->> 3)::bigint,
            phase = r ->> 4, rake = (r ->> 5)::bigint,
            turn_started_at = from_ms((r ->> 6)::bigint),
            turn_deadline = from_ms((r ->> 7)::bigint), ended_at = from_ms((r ->> 8)::bigint)
        FROM jsonb_array_elements(batch -> 'HandPlay') r
        WHERE h.id = r ->> 0;
    END IF;

    IF batch ? 'PlayerDealt' THEN
        INSERT INTO players (hand_id, room_id, position, user_id, seat_index, hole_cards,
                             starting_stack)
        SELECT r ->> 0, r ->> 1, (r ->> 2)::smallint, r ->> 3, (r ->> 4)::smallint,
               cards(r ->> 5), (r ->> 6)::bigint
        FROM jsonb_array_elements(batch -> 'PlayerDealt') r;
    END IF;

    IF batch ? 'PlayerResult' THEN
        UPDATE players p
        SET final_stack = (r ->> 2)::bigint, shown = (r ->> 3)::boolean
        FROM jsonb_array_elements(batch -> 'PlayerResult') r
        WHERE p.hand_id = r ->> 0 AND p.seat_index = (r ->> 1)::smallint;
    END IF;

    IF batch ? 'GamePut' THEN
        INSERT INTO games AS g (id, room_id, status, hands_played, button_seat, big_blind_seat,
                                hand_ended_at, next_hand_at, started_at, ended_at)
        SELECT r ->> 0, r ->> 1, r ->> 2, (r ->> 3)::integer, (r ->> 4)::smallint,
               (r ->> 5)::smallint, from_ms((r ->> 6)::bigint), from_ms((r ->> 7)::bigint),
               from_ms((r ->> 8)::bigint), from_ms((r ->> 9)::bigint)
        FROM jsonb_array_elements(batch -> 'GamePut') r
        ON CONFLICT (id) DO UPDATE
        SET status = EXCLUDED.status, hands_played = EXCLUDED.hands_played,
            button_seat = EXCLUDED.button_seat, big_blind_seat = EXCLUDED.big_blind_seat,
            hand_ended_at = EXCLUDED.hand_ended_at, next_hand_at = EXCLUDED.next_hand_at,
            ended_at = EXCLUDED.ended_at;
    END IF;

    IF batch ? 'LedgerEntry' THEN
        INSERT INTO ledger_entries (transfer_id, account, user_id, room_id, hand_id, sitting_id,
                                    amount, kind, reason, at)
        SELECT r ->> 0, r ->> 1, r ->> 2, r ->> 3, r ->> 4, r ->> 5, (r ->> 6)::bigint, r ->> 7,
               r ->> 8, from_ms((r ->> 9)::bigint)
        FROM jsonb_array_elements(batch -> 'LedgerEntry') r;
    END IF;

    IF batch ? 'CommandDone' THEN
        INSERT INTO commands (command_id, user_id, room_id, type, outcome, at)
        SELECT (r ->> 0)::uuid, r ->> 1, r ->> 2, r ->> 3, r -> 4, from_ms((r ->> 5)::bigint)
        FROM jsonb_array_elements(batch -> 'CommandDone') r;
    END IF;

    IF batch ? 'Membership' THEN
        PERFORM commit_membership(batch);
    END IF;
END $$;

-- The kinds that change who is in a room; rarer than the rest, and told by the key 'Membership'.
CREATE FUNCTION commit_membership(batch jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    moved bigint;
BEGIN
    UPDATE rooms x
    SET host_id = r ->> 1, status = r ->> 2, name = r ->> 3, variant = r ->> 4,
        small_blind = (r ->> 5)::bigint, big_blind = (r ->> 6)::bigint, ante = (r ->> 7)::bigint,
        min_buy_in = (r ->> 8)::bigint, max_buy_in = (r ->> 9)::bigint,
        max_seats = (r ->> 10)::smallint, turn_seconds = (r ->> 11)::integer,
        time_bank_seconds = (r ->> 12)::integer, auto_start = (r ->> 13)::boolean,
        requires_approval = (r ->> 14)::boolean, spectators_allowed = (r ->> 15)::boolean,
        rake_basis_points = (r ->> 16)::integer, rake_cap = (r ->> 17)::bigint,
        is_private = (r ->> 18)::boolean, next_settings = nullif(r -> 19, 'null'),
        closing = r ->> 20, rigged_deck = r ->> 21, closed_at = from_ms((r ->> 22)::bigint)
    FROM jsonb_array_elements(batch -> 'RoomPut') r
    WHERE x.id = r ->> 0;

    DELETE FROM room_players m USING jsonb_array_elements(batch -> 'MemberGone') r
    WHERE m.room_id = r ->> 0 AND m.user_id = r ->> 1;

    INSERT INTO room_players (room_id, user_id, display_name, status, requested_at, decided_at,
                              told_seq)
    SELECT r ->> 0, r ->> 1, r ->> 2, r ->> 3, from_ms((r ->> 4)::bigint),
           from_ms((r ->> 5)::bigint), (r ->> 6)::bigint
    FROM jsonb_array_elements(batch -> 'MemberPut') r
    ON CONFLICT (room_id, user_id) DO UPDATE
    SET display_name = EXCLUDED.display_name, status = EXCLUDED.status,
        requested_at = EXCLUDED.requested_at, decided_at = EXCLUDED.decided_at,
        told_seq = EXCLUDED.told_seq;

    DELETE FROM room_spectators s USING jsonb_array_elements(batch -> 'SpectatorGone') r
    WHERE s.room_id = r ->> 0 AND s.user_id = r ->> 1;

    INSERT INTO room_spectators (room_id, user_id, display_name, last_seen_at)
    SELECT r ->> 0, r ->> 1, r ->> 2, from_ms((r ->> 3)::bigint)
    FROM jsonb_array_elements(batch -> 'SpectatorPut') r
    ON CONFLICT (room_id, user_id) DO UPDATE SET display_name = EXCLUDED.display_name;

    DELETE FROM room_seats s USING jsonb_array_elements(batch -> 'SeatGone') r
    WHERE s.room_id = r ->> 0 AND s.seat_index = (r ->> 1)::smallint;

    INSERT INTO room_seats AS s (room_id, seat_index, user_id, display_name, chips, status,
                                 time_bank_ms, clock_outs, away, leaving, leaving_reason,
                                 sitting_id, last_seen_at)
    SELECT r ->> 0, (r ->> 1)::smallint, r ->> 2, r ->> 3, (r ->> 4)::bigint, r ->> 5,
           (r ->> 6)::bigint, (r ->> 7)::smallint, (r ->> 8)::boolean, r ->> 9, r ->> 10,
           r ->> 11, from_ms((r ->> 12)::bigint)
    FROM jsonb_array_elements(batch -> 'SeatPut') r
    ON CONFLICT (room_id, seat_index) DO UPDATE
    SET user_id = EXCLUDED.user_id, display_name = EXCLUDED.display_name,
        chips = EXCLUDED.chips, status = EXCLUDED.status, time_bank_ms = EXCLUDED.time_bank_ms,
        clock_outs = EXCLUDED.clock_outs, away = EXCLUDED.away, leaving = EXCLUDED.leaving,
        leaving_reason = EXCLUDED.leaving_reason, sitting_id = EXCLUDED.sitting_id,
        connected = s.connected OR s.sitting_id <> EXCLUDED.sitting_id,
        last_seen_at = CASE WHEN s.sitting_id = EXCLUDED.sitting_id
                            THEN s.last_seen_at ELSE EXCLUDED.last_seen_at END;

    INSERT INTO sittings (id, room_id, user_id, display_name, started_at)
    SELECT r ->> 0, r ->> 1, r ->> 2, r ->> 3, from_ms((r ->> 4)::bigint)
    FROM jsonb_array_elements(batch -> 'SittingStarted') r;

    UPDATE sittings s SET ended_at = from_ms((r ->> 1)::bigint)
    FROM jsonb_array_elements(batch -> 'SittingEnded') r
    WHERE s.id = r ->> 0;

    -- One user's moves are summed: an UPDATE joins each row once.
    UPDATE wallets w SET balance = w.balance + m.delta
    FROM (SELECT r ->> 0 AS user_id, sum((r ->> 1)::bigint) AS delta
          FROM jsonb_array_elements(batch -> 'WalletMove') r GROUP BY 1 ORDER BY 1) m
    WHERE w.user_id = m.user_id;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> (SELECT count(DISTINCT r ->> 0)
                 FROM jsonb_array_elements(batch -> 'WalletMove') r) THEN
        RAISE EXCEPTION 'chips would be lost: a wallet is missing' USING ERRCODE = 'CR002';
    END IF;

    DELETE FROM rejoin_tokens t USING jsonb_array_elements(batch -> 'TokensRevoked') r
    WHERE t.room_id = r ->> 0 AND t.user_id = r ->> 1;

    -- A granted token replaces the ones before it, which stay good for a moment.
    UPDATE rejoin_tokens t
    SET replaced = true, expires_at = least(t.expires_at, from_ms((r ->> 7)::bigint))
    FROM jsonb_array_elements(batch -> 'TokenGranted') r
    WHERE t.room_id = r ->> 0 AND t.user_id = r ->> 1 AND NOT t.replaced;

    INSERT INTO rejoin_tokens (room_id, user_id, role, seat_index, token_hash, created_at,
                               expires_at)
    SELECT r ->> 0, r ->> 1, r ->> 2, (r ->> 3)::smallint, decode(r ->> 4, 'hex'),
           from_ms((r ->> 5)::bigint), from_ms((r ->> 6)::bigint)
    FROM jsonb_array_elements(batch -> 'TokenGranted') r;

    INSERT INTO audit_log (at, user_id, role, action, room_id, subject_id, source, details)
    SELECT from_ms((r ->> 0)::bigint), r ->> 1, r ->> 2, r ->> 3, r ->> 4, r ->> 5, r ->> 6, r -> 7
    FROM jsonb_array_elements(batch -> 'AuditEntry') r;
END $$;

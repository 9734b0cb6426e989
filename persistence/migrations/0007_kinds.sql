-- What changes who is in a room, a statement for each kind that a batch has. All of them for every
-- batch that had one, as before, were 16 statements where a player who sits out needs one: half a
-- millisecond of each commit.

CREATE OR REPLACE FUNCTION commit_membership(batch jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    moved bigint;
BEGIN
    IF batch ? 'RoomPut' THEN
        UPDATE rooms x
        SET host_id = r ->> 1, status = r ->> 2, name = r ->> 3, variant = r ->> 4,
            small_blind = (r ->> 5)::bigint, big_blind = (r ->> 6)::bigint, ante = (r ->> 7)::bigint,
            min_buy_in = (r ->> 8)::bigint, max_buy_in = (r ->> 9)::bigint,
            max_seats = (r ->> 10)::smallint, turn_seconds = (r ->> 11)::integer,
            time_bank_seconds = (r ->> 12)::integer, auto_start = (r ->> 13)::boolean,
            requires_approval = (r ->> 14)::boolean, spectators_allowed = (r ->> 15)::boolean,
            rake_basis_points = (r ->> 16)::integer, rake_cap = (r ->> 17)::bigint,
            is_private = (r ->> 18)::boolean, ante_kind = r ->> 19, straddle = (r ->> 20)::bigint,
            bomb_pot = nullif(r -> 21, 'null'), run_it_times = (r ->> 22)::smallint,
            next_settings = nullif(r -> 23, 'null'),
            closing = r ->> 24, rigged_deck = r ->> 25, closed_at = from_ms((r ->> 26)::bigint)
        FROM jsonb_array_elements(batch -> 'RoomPut') r
        WHERE x.id = r ->> 0;
    END IF;

    IF batch ? 'MemberGone' THEN
        DELETE FROM room_players m USING jsonb_array_elements(batch -> 'MemberGone') r
        WHERE m.room_id = r ->> 0 AND m.user_id = r ->> 1;
    END IF;

    IF batch ? 'MemberPut' THEN
        INSERT INTO room_players (room_id, user_id, display_name, status, requested_at, decided_at,
                                  told_seq)
        SELECT r ->> 0, r ->> 1, r ->> 2, r ->> 3, from_ms((r ->> 4)::bigint),
               from_ms((r ->> 5)::bigint), (r ->> 6)::bigint
        FROM jsonb_array_elements(batch -> 'MemberPut') r
        ON CONFLICT (room_id, user_id) DO UPDATE
        SET display_name = EXCLUDED.display_name, status = EXCLUDED.status,
            requested_at = EXCLUDED.requested_at, decided_at = EXCLUDED.decided_at,
            told_seq = EXCLUDED.told_seq;
    END IF;

    IF batch ? 'BanGone' THEN
        DELETE FROM room_bans b USING jsonb_array_elements(batch -> 'BanGone') r
        WHERE b.room_id = r ->> 0 AND b.user_id = r ->> 1;
    END IF;

    IF batch ? 'BanPut' THEN
        INSERT INTO room_bans (room_id, user_id, reason, banned_by, banned_at)
        SELECT r ->> 0, r ->> 1, r ->> 2, r ->> 3, from_ms((r ->> 4)::bigint)
        FROM jsonb_array_elements(batch -> 'BanPut') r
        ON CONFLICT (room_id, user_id) DO UPDATE
        SET reason = EXCLUDED.reason, banned_by = EXCLUDED.banned_by, banned_at = EXCLUDED.banned_at;
    END IF;

    IF batch ? 'SpectatorGone' THEN
        DELETE FROM room_spectators s USING jsonb_array_elements(batch -> 'SpectatorGone') r
        WHERE s.room_id = r ->> 0 AND s.user_id = r ->> 1;
    END IF;

    IF batch ? 'SpectatorPut' THEN
        INSERT INTO room_spectators (room_id, user_id, display_name, last_seen_at)
        SELECT r ->> 0, r ->> 1, r ->> 2, from_ms((r ->> 3)::bigint)
        FROM jsonb_array_elements(batch -> 'SpectatorPut') r
        ON CONFLICT (room_id, user_id) DO UPDATE SET display_name = EXCLUDED.display_name;
    END IF;

    IF batch ? 'SeatGone' THEN
        DELETE FROM room_seats s USING jsonb_array_elements(batch -> 'SeatGone') r
        WHERE s.room_id = r ->> 0 AND s.seat_index = (r ->> 1)::smallint;
    END IF;

    IF batch ? 'SeatPut' THEN
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
    END IF;

    IF batch ? 'SittingStarted' THEN
        INSERT INTO sittings (id, room_id, user_id, display_name, started_at)
        SELECT r ->> 0, r ->> 1, r ->> 2, r ->> 3, from_ms((r ->> 4)::bigint)
        FROM jsonb_array_elements(batch -> 'SittingStarted') r;
    END IF;

    IF batch ? 'SittingEnded' THEN
        UPDATE sittings s SET ended_at = from_ms((r ->> 1)::bigint)
        FROM jsonb_array_elements(batch -> 'SittingEnded') r
        WHERE s.id = r ->> 0;
    END IF;

    IF batch ? 'WalletMove' THEN
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
    END IF;

    IF batch ? 'TokensRevoked' THEN
        DELETE FROM rejoin_tokens t USING jsonb_array_elements(batch -> 'TokensRevoked') r
        WHERE t.room_id = r ->> 0 AND t.user_id = r ->> 1;
    END IF;

    IF batch ? 'TokenGranted' THEN
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
    END IF;

    IF batch ? 'AuditEntry' THEN
        INSERT INTO audit_log (at, user_id, role, action, room_id, subject_id, source, details)
        SELECT from_ms((r ->> 0)::bigint), r ->> 1, r ->> 2, r ->> 3, r ->> 4, r ->> 5, r ->> 6, r -> 7
        FROM jsonb_array_elements(batch -> 'AuditEntry') r;
    END IF;
END $$;

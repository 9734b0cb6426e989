-- The whole club: waitlists, bans, more kinds of hands, and writes from outside.

-- How hands are played, as settings of a room and as each hand was.

ALTER TABLE rooms
    ADD COLUMN ante_kind    text NOT NULL DEFAULT 'all'
                            CHECK (ante_kind IN ('all', 'big_blind', 'button')),
    ADD COLUMN straddle     bigint NOT NULL DEFAULT 0 CHECK (straddle >= 0),
    ADD COLUMN bomb_pot     jsonb,
    ADD COLUMN run_it_times smallint NOT NULL DEFAULT 1 CHECK (run_it_times BETWEEN 1 AND 3);

-- In a bomb pot `ante` is what everybody posted; blinds are the room's then, but nobody posts them.
-- `run_it_times` is how often the board may be run out at most; `runouts` how often it was, null
-- unless that was a choice. `board` is the first board, `other_boards` those after it, each run
-- together. While the vote is on, `run_it_deadline` is set and `run_it_votes` maps seat indices to
-- the times that each has said.
ALTER TABLE hands
    ADD COLUMN ante_kind       text NOT NULL DEFAULT 'all',
    ADD COLUMN straddle        bigint NOT NULL DEFAULT 0,
    ADD COLUMN bomb_pot        boolean NOT NULL DEFAULT false,
    ADD COLUMN run_it_times    smallint NOT NULL DEFAULT 1,
    ADD COLUMN runouts         smallint,
    ADD COLUMN other_boards    text[] NOT NULL DEFAULT '{}',
    ADD COLUMN run_it_deadline timestamptz,
    ADD COLUMN run_it_votes    jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN button          smallint GENERATED ALWAYS AS (button_seat) STORED;

-- The shorter names that readers of these tables know.
ALTER TABLE actions ADD COLUMN seat smallint GENERATED ALWAYS AS (seat_index) STORED;

CREATE TABLE room_bans (
    room_id   text NOT NULL REFERENCES rooms,
    user_id   text NOT NULL,
    reason    text,
    banned_by text NOT NULL,
    banned_at timestamptz NOT NULL,
    PRIMARY KEY (room_id, user_id)
);

-- What servers can reckon with in milliseconds, by far.
CREATE FUNCTION is_of_our_time(at timestamptz) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN at BETWEEN timestamptz '1970-01-01 00:00:00+00' AND timestamptz '3000-01-01 00:00:00+00';

-- One queue a table. `position` is 1…n among those who wait or are called, without holes, at every
-- commit, and null for all others. `seat_index` is the seat that is held for who is called.
CREATE TABLE waitlist (
    id          text PRIMARY KEY DEFAULT gen_random_uuid()::text CHECK (length(id) BETWEEN 1 AND 64),
    table_id    text NOT NULL REFERENCES rooms,
    player_id   text NOT NULL CHECK (length(player_id) BETWEEN 1 AND 64),
    player_name text NOT NULL
                CHECK (length(player_name) BETWEEN 1 AND 60 AND player_name !~ '[\x01-\x1f\x7f]'),
    has_client  boolean NOT NULL DEFAULT true,
    seat_number smallint CHECK (seat_number BETWEEN 0 AND 9),
    position    integer,
    game_type   text CHECK (length(game_type) <= 60),
    min_buy_in  bigint CHECK (min_buy_in BETWEEN 0 AND 1000000000000000),
    max_buy_in  bigint CHECK (max_buy_in BETWEEN 0 AND 1000000000000000),
    status      text NOT NULL DEFAULT 'waiting'
                CHECK (status IN ('waiting', 'called', 'seated', 'declined', 'expired', 'no_show',
                                  'cancelled')),
    source      text NOT NULL DEFAULT 'staff_portal'
                CHECK (source IN ('player_portal', 'staff_portal', 'socket', 'external')),
    notes       text CHECK (length(notes) <= 2000),
    seat_index  smallint CHECK (seat_index BETWEEN 0 AND 9),
    called_at   timestamptz CHECK (is_of_our_time(called_at)),
    expires_at  timestamptz CHECK (is_of_our_time(expires_at)),
    created_at  timestamptz NOT NULL DEFAULT now() CHECK (is_of_our_time(created_at)),
    updated_at  timestamptz NOT NULL DEFAULT now() CHECK (is_of_our_time(updated_at))
);
CREATE UNIQUE INDEX waitlist_live_key ON waitlist (table_id, player_id)
    WHERE status IN ('waiting', 'called');
CREATE INDEX waitlist_by_player ON waitlist (player_id, created_at);
CREATE INDEX waitlist_by_table ON waitlist (table_id, created_at);

-- The player portal's older name for the same queue.
CREATE VIEW seat_requests AS
    SELECT id, player_id, player_name, table_id, seat_number, game_type, min_buy_in, max_buy_in,
           status, position, source, notes, created_at, updated_at
    FROM waitlist;
ALTER VIEW seat_requests ALTER COLUMN source SET DEFAULT 'player_portal';

-- Writes from outside: anything that is not a server's journal and changes what a room's actor
-- holds. Each is an entry of the room's inbox, written in the transaction of the write itself; the
-- room's actor tells what it means and takes it out, in one commit. `game_states.outside` counts
-- them and is part of the fence: an actor that has not seen one cannot commit.
--
-- What cannot be told, or would leave rows that no server can read, is refused with SQLSTATE CR003
-- and a message that says what to do instead.

ALTER TABLE game_states ADD COLUMN outside bigint NOT NULL DEFAULT 0;
ALTER TABLE room_seats ADD CHECK (is_of_our_time(last_seen_at));

CREATE TABLE outside_writes (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room_id    text NOT NULL,
    relation   text NOT NULL,
    before     jsonb,
    after      jsonb,
    written_by text NOT NULL,
    written_at timestamptz NOT NULL
);
CREATE INDEX outside_writes_by_room ON outside_writes (room_id, id);

CREATE FUNCTION is_outside() RETURNS boolean
    LANGUAGE sql STABLE
    RETURN current_setting('cardroom.journal', true) IS DISTINCT FROM 'on';

-- Puts a write into the room's inbox and has its server told. Fired as the transaction commits, so
-- that a writer who takes his time holds no lock that the journal of all rooms would wait for.
CREATE FUNCTION note_outside_write(room text, relation text, before jsonb, after jsonb)
    RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    writer text := session_user
        || coalesce('/' || nullif(current_setting('application_name'), ''), '');
BEGIN
    UPDATE game_states SET outside = outside + 1 WHERE room_id = room;
    INSERT INTO outside_writes (room_id, relation, before, after, written_by, written_at)
    VALUES (room, relation, before, after, writer, clock_timestamp());
    INSERT INTO audit_log (at, user_id, role, action, room_id, subject_id, source, details)
    VALUES (clock_timestamp(), session_user, 'external',
            relation || CASE WHEN before IS NULL THEN '.insert'
                             WHEN after IS NULL THEN '.delete' ELSE '.update' END,
            room, coalesce(after, before) ->> CASE relation WHEN 'waitlist' THEN 'player_id'
                                                            WHEN 'room_seats' THEN 'user_id'
                                                            ELSE 'id' END,
            'sql', jsonb_build_object('by', writer, 'before', before, 'after', after));
    PERFORM pg_notify('cardroom_outside', room);
END $$;

-- No row trigger sees a TRUNCATE.
CREATE FUNCTION refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF is_outside() THEN
        RAISE EXCEPTION 'delete the rows of % instead, so that their tables learn of it',
            TG_TABLE_NAME USING ERRCODE = 'CR003';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER waitlist_not_truncated BEFORE TRUNCATE ON waitlist
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
CREATE TRIGGER room_seats_not_truncated BEFORE TRUNCATE ON room_seats
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();

-- The queue.

-- Makes a row whole: a second live entry is not made, what is not live has no place, and only who
-- is called has a seat held.
CREATE FUNCTION complete_waitlist() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(NEW.table_id || '/' || NEW.player_id, 0));
        IF NEW.status IN ('waiting', 'called') AND EXISTS (
                SELECT FROM waitlist w
                WHERE w.table_id = NEW.table_id AND w.player_id = NEW.player_id
                  AND w.status IN ('waiting', 'called')) THEN
            RETURN NULL;
        END IF;
        NEW.player_name := coalesce(NEW.player_name,
            (SELECT name FROM wallets WHERE user_id = NEW.player_id), NEW.player_id);
    ELSE
        IF NEW.id <> OLD.id THEN
            RAISE EXCEPTION 'an entry''s id does not change' USING ERRCODE = 'CR003';
        END IF;
        NEW.updated_at := now();
    END IF;
    IF NEW.status NOT IN ('waiting', 'called') THEN
        NEW.position := NULL;
    END IF;
    IF NEW.status <> 'called' THEN
        NEW.seat_index := NULL;
        NEW.expires_at := NULL;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER waitlist_complete BEFORE INSERT OR UPDATE ON waitlist
    FOR EACH ROW WHEN (is_outside()) EXECUTE FUNCTION complete_waitlist();

CREATE FUNCTION in_order(room text) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN (SELECT count(*) = count(DISTINCT position) AND coalesce(min(position), 1) = 1
                   AND coalesce(max(position), 0) = count(*)
            FROM waitlist WHERE table_id = room AND status IN ('waiting', 'called'));

-- Closes holes and parts ties. An entry that was put on another's place (`moved`) goes before it,
-- unless it came there from the front of it (`moved_back`). It waits for nobody who is writing to
-- the same queue: whoever commits after him puts his rows in order too.
CREATE FUNCTION renumber_waitlist(room text, moved text, moved_back boolean)
    RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- Of many writes in one transaction the first one has put all in order.
    IF in_order(room) THEN
        RETURN;
    END IF;
    PERFORM set_config('cardroom.journal', 'on', true);
    UPDATE waitlist w SET position = n.place
    FROM (SELECT id, row_number() OVER (
              ORDER BY position NULLS LAST,
                       CASE WHEN id <> moved THEN 1 WHEN moved_back THEN 2 ELSE 0 END,
                       created_at, id) AS place
          FROM waitlist WHERE table_id = room AND status IN ('waiting', 'called')) n
    WHERE w.id = n.id AND w.position IS DISTINCT FROM n.place
      AND w.id IN (SELECT id FROM waitlist
                   WHERE table_id = room AND status IN ('waiting', 'called')
                   FOR NO KEY UPDATE SKIP LOCKED);
    PERFORM set_config('cardroom.journal', '', true);
END $$;

-- Puts queues in order that somebody left otherwise who was writing to them and gave it up.
CREATE FUNCTION mend_waitlists() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    room text;
BEGIN
    FOR room IN SELECT DISTINCT table_id FROM waitlist WHERE status IN ('waiting', 'called') LOOP
        IF NOT in_order(room) THEN
            PERFORM FROM game_states WHERE room_id = room FOR NO KEY UPDATE SKIP LOCKED;
            IF FOUND THEN
                PERFORM renumber_waitlist(room, '', false);
            END IF;
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION note_waitlist() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND (TG_OP = 'DELETE' OR OLD.table_id <> NEW.table_id) THEN
        PERFORM note_outside_write(OLD.table_id, 'waitlist', to_jsonb(OLD), NULL);
        PERFORM renumber_waitlist(OLD.table_id, '', false);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM note_outside_write(
            NEW.table_id, 'waitlist',
            CASE WHEN TG_OP = 'UPDATE' AND OLD.table_id = NEW.table_id THEN to_jsonb(OLD) END,
            to_jsonb(NEW));
        PERFORM renumber_waitlist(
            NEW.table_id,
            CASE WHEN TG_OP = 'INSERT' OR OLD.position IS DISTINCT FROM NEW.position
                 THEN NEW.id ELSE '' END,
            TG_OP = 'UPDATE' AND coalesce(OLD.position < NEW.position, false));
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER waitlist_noted AFTER INSERT OR UPDATE OR DELETE ON waitlist
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (is_outside()) EXECUTE FUNCTION note_waitlist();

-- An operator's corrections of seats and rooms.

CREATE FUNCTION chips_at_play(seat room_seats) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN EXISTS (SELECT FROM hands h JOIN players p ON p.hand_id = h.id
                   WHERE h.room_id = (seat).room_id AND h.ended_at IS NULL
                     AND p.seat_index = (seat).seat_index);

-- Chips that an operator gives or takes come from, or go to, the house; those of a seat that is
-- deleted go to its player's wallet: the books balance in the operator's own transaction.
CREATE FUNCTION correct_seat() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    transfer text := 'correction:' || gen_random_uuid();
BEGIN
    IF TG_OP = 'INSERT' THEN
        RAISE EXCEPTION 'players sit down through the server, with a buy-in from their wallet'
            USING ERRCODE = 'CR003';
    ELSIF TG_OP = 'DELETE' THEN
        IF OLD.chips > 0 THEN
            INSERT INTO ledger_entries (transfer_id, account, user_id, room_id, sitting_id, amount,
                                        kind, reason, at)
            VALUES (transfer, 'stack', OLD.user_id, OLD.room_id, OLD.sitting_id, -OLD.chips,
                    'cash_out', 'correction', clock_timestamp()),
                   (transfer, 'wallet', OLD.user_id, OLD.room_id, NULL, OLD.chips, 'cash_out',
                    'correction', clock_timestamp());
            UPDATE wallets SET balance = balance + OLD.chips WHERE user_id = OLD.user_id;
            IF NOT FOUND THEN
                RAISE EXCEPTION '% has no wallet for the % chips', OLD.user_id, OLD.chips
                    USING ERRCODE = 'CR003';
            END IF;
        END IF;
        UPDATE sittings SET ended_at = clock_timestamp() WHERE id = OLD.sitting_id;
    ELSE
        IF (OLD.room_id, OLD.seat_index, OLD.user_id, OLD.sitting_id)
                IS DISTINCT FROM (NEW.room_id, NEW.seat_index, NEW.user_id, NEW.sitting_id) THEN
            RAISE EXCEPTION 'a seat''s player does not change; delete the seat instead'
                USING ERRCODE = 'CR003';
        ELSIF (OLD.clock_outs, OLD.away, OLD.leaving, OLD.leaving_reason)
                IS DISTINCT FROM (NEW.clock_outs, NEW.away, NEW.leaving, NEW.leaving_reason) THEN
            RAISE EXCEPTION 'comings and goings are the server''s to write; set the seat''s status'
                USING ERRCODE = 'CR003';
        ELSIF length(NEW.display_name) NOT BETWEEN 1 AND 60
                OR NEW.display_name ~ '[\x01-\x1f\x7f]' THEN
            RAISE EXCEPTION 'a name has 1 to 60 characters, none of them control characters'
                USING ERRCODE = 'CR003';
        ELSIF NEW.chips > 1000000000000000 OR NEW.time_bank_ms > 86400000 THEN
            RAISE EXCEPTION 'at most 10^15 chips and 86400000 ms of time bank'
                USING ERRCODE = 'CR003';
        END IF;
        IF NEW.chips <> OLD.chips THEN
            INSERT INTO ledger_entries (transfer_id, account, user_id, room_id, sitting_id, amount,
                                        kind, reason, at)
            VALUES (transfer, 'house', NULL, NEW.room_id, NULL, OLD.chips - NEW.chips,
                    'adjustment', 'correction', clock_timestamp()),
                   (transfer, 'stack', NEW.user_id, NEW.room_id, NEW.sitting_id,
                    NEW.chips - OLD.chips, 'adjustment', 'correction', clock_timestamp());
        END IF;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER room_seats_corrected AFTER INSERT OR DELETE
    OR UPDATE OF room_id, seat_index, user_id, sitting_id, display_name, chips, time_bank_ms,
                 clock_outs, away, leaving, leaving_reason ON room_seats
    FOR EACH ROW WHEN (is_outside()) EXECUTE FUNCTION correct_seat();

-- The lock on game_states comes first, so that no hand begins or ends between the look and the end.
CREATE FUNCTION note_seat() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM note_outside_write(OLD.room_id, 'room_seats', to_jsonb(OLD),
                               CASE WHEN TG_OP = 'UPDATE' THEN to_jsonb(NEW) END);
    IF (TG_OP = 'DELETE' OR NEW.chips <> OLD.chips) AND chips_at_play(OLD) THEN
        RAISE EXCEPTION 'seat % is in a hand; correct its chips between hands', OLD.seat_index
            USING ERRCODE = 'CR003';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER room_seats_noted AFTER DELETE
    OR UPDATE OF display_name, chips, status, time_bank_ms ON room_seats
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (is_outside()) EXECUTE FUNCTION note_seat();

-- Servers take rooms over one epoch at a time, outside of their journals.
CREATE FUNCTION guard_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.code, OLD.next_settings, OLD.closing, OLD.rigged_deck, OLD.created_at, OLD.closed_at)
            IS DISTINCT FROM (NEW.code, NEW.next_settings, NEW.closing, NEW.rigged_deck,
                              NEW.created_at, NEW.closed_at)
            OR NEW.owner_epoch NOT BETWEEN OLD.owner_epoch AND OLD.owner_epoch + 1 THEN
        RAISE EXCEPTION 'only settings, host and status of a room are written from outside'
            USING ERRCODE = 'CR003';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER rooms_guarded AFTER UPDATE OF code, next_settings, closing, rigged_deck, created_at,
    closed_at, owner_epoch ON rooms
    FOR EACH ROW WHEN (is_outside()) EXECUTE FUNCTION guard_room();

CREATE FUNCTION note_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM note_outside_write(NEW.id, 'rooms', to_jsonb(OLD) - 'rigged_deck',
                               to_jsonb(NEW) - 'rigged_deck');
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER rooms_noted AFTER UPDATE OF
    host_id, status, name, variant, small_blind, big_blind, ante, min_buy_in, max_buy_in, max_seats,
    turn_seconds, time_bank_seconds, auto_start, requires_approval, spectators_allowed,
    rake_basis_points, rake_cap, is_private, ante_kind, straddle, bomb_pot, run_it_times ON rooms
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (is_outside()) EXECUTE FUNCTION note_room();

-- The journal, with the rows above and the count of outside writes in the fence.

-- The fence: advances the rooms of a batch, or raises naming (in the error's detail) those that are
-- no longer at the seq, epoch and count of outside writes that their writer believes.
-- A row: room_id, epoch, seq, next_seq, unit_id, state, outside.
CREATE OR REPLACE FUNCTION advance_rooms(believed jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    advanced text[];
BEGIN
    WITH b AS (
        SELECT r ->> 0 AS room_id, (r ->> 1)::bigint AS epoch, (r ->> 2)::bigint AS seq,
               (r ->> 3)::bigint AS next_seq, (r ->> 4)::bigint AS unit_id, r -> 5 AS state,
               (r ->> 6)::bigint AS outside
        FROM jsonb_array_elements(believed) r
    ), done AS (
        UPDATE game_states g
        SET seq = b.next_seq, unit_id = b.unit_id, current_state = b.state,
            updated_at = clock_timestamp()
        FROM b
        WHERE g.room_id = b.room_id AND g.seq = b.seq AND g.owner_epoch = b.epoch
          AND g.outside = b.outside
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

CREATE OR REPLACE FUNCTION commit_batch(batch jsonb) RETURNS void LANGUAGE plpgsql AS $$
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
                           rake_basis_points, rake_cap, started_at, ante_kind, straddle, bomb_pot,
                           run_it_times, board, pot, current_bet, phase, rake)
        SELECT r ->> 0, r ->> 1, r ->> 2, (r ->> 3)::integer, r ->> 4, r ->> 5,
               (r ->> 6)::smallint, (r ->> 7)::smallint, (r ->> 8)::smallint, (r ->> 9)::bigint,
               (r ->> 10)::bigint, (r ->> 11)::bigint, (r ->> 12)::integer, (r ->> 13)::bigint,
               from_ms((r ->> 14)::bigint), r ->> 15, (r ->> 16)::bigint, (r ->> 17)::boolean,
               (r ->> 18)::smallint, '{}', 0, 0, 'preflop', 0
        FROM jsonb_array_elements(batch -> 'HandOpened') r;
    END IF;

    IF batch ? 'HandPlay' THEN
        UPDATE hands h
        SET board = cards(r ->> 1), pot = (r ->> 2)::bigint, current_bet = (r ->> 3)::bigint,
            phase = r ->> 4, rake = (r ->> 5)::bigint,
            turn_started_at = from_ms((r ->> 6)::bigint),
            turn_deadline = from_ms((r ->> 7)::bigint), ended_at = from_ms((r ->> 8)::bigint),
            runouts = (r ->> 9)::smallint,
            other_boards = ARRAY(SELECT jsonb_array_elements_text(r -> 10)),
            run_it_deadline = from_ms((r ->> 11)::bigint), run_it_votes = r -> 12
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

    IF batch ? 'WaitlistPut' OR batch ? 'OutsideTold' THEN
        PERFORM commit_waitlist(batch);
    END IF;
END $$;

-- The kinds that change who is in a room; rarer than the rest, and told by the key 'Membership'.
CREATE OR REPLACE FUNCTION commit_membership(batch jsonb) RETURNS void LANGUAGE plpgsql AS $$
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
        is_private = (r ->> 18)::boolean, ante_kind = r ->> 19, straddle = (r ->> 20)::bigint,
        bomb_pot = nullif(r -> 21, 'null'), run_it_times = (r ->> 22)::smallint,
        next_settings = nullif(r -> 23, 'null'),
        closing = r ->> 24, rigged_deck = r ->> 25, closed_at = from_ms((r ->> 26)::bigint)
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

    DELETE FROM room_bans b USING jsonb_array_elements(batch -> 'BanGone') r
    WHERE b.room_id = r ->> 0 AND b.user_id = r ->> 1;

    INSERT INTO room_bans (room_id, user_id, reason, banned_by, banned_at)
    SELECT r ->> 0, r ->> 1, r ->> 2, r ->> 3, from_ms((r ->> 4)::bigint)
    FROM jsonb_array_elements(batch -> 'BanPut') r
    ON CONFLICT (room_id, user_id) DO UPDATE
    SET reason = EXCLUDED.reason, banned_by = EXCLUDED.banned_by, banned_at = EXCLUDED.banned_at;

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

-- The queue as its room's actor has it, and what it has told of the writes from outside.
CREATE FUNCTION commit_waitlist(batch jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO waitlist (id, table_id, player_id, player_name, has_client, seat_number, position,
                          game_type, min_buy_in, max_buy_in, status, source, notes, seat_index,
                          called_at, expires_at, created_at, updated_at)
    SELECT r ->> 0, r ->> 1, r ->> 2, r ->> 3, (r ->> 4)::boolean, (r ->> 5)::smallint,
           (r ->> 6)::integer, r ->> 7, (r ->> 8)::bigint, (r ->> 9)::bigint, r ->> 10, r ->> 11,
           r ->> 12, (r ->> 13)::smallint, from_ms((r ->> 14)::bigint),
           from_ms((r ->> 15)::bigint), from_ms((r ->> 16)::bigint), from_ms((r ->> 17)::bigint)
    FROM jsonb_array_elements(batch -> 'WaitlistPut') r
    ON CONFLICT (id) DO UPDATE
    SET player_name = EXCLUDED.player_name, seat_number = EXCLUDED.seat_number,
        position = EXCLUDED.position, game_type = EXCLUDED.game_type,
        min_buy_in = EXCLUDED.min_buy_in, max_buy_in = EXCLUDED.max_buy_in,
        status = EXCLUDED.status, notes = EXCLUDED.notes, seat_index = EXCLUDED.seat_index,
        called_at = EXCLUDED.called_at, expires_at = EXCLUDED.expires_at,
        updated_at = EXCLUDED.updated_at;

    DELETE FROM outside_writes o USING jsonb_array_elements(batch -> 'OutsideTold') r
    WHERE o.room_id = r ->> 0 AND o.id <= (r ->> 1)::bigint;
END $$;

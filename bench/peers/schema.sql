-- What every peer writes to: the three tables that a small command touches, with the columns that
-- they have in Cardroom, so that a row weighs the same. Ids are 36 characters, as its own are.
-- Filled for :rooms rooms of :seats seats. Updates stay in place (fillfactor 50), as there.

CREATE TABLE game_states (
    room_id       text PRIMARY KEY,
    seq           bigint NOT NULL,
    owner_epoch   bigint NOT NULL,
    unit_id       bigint NOT NULL,
    current_state jsonb NOT NULL,
    updated_at    timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE room_events (
    room_id text NOT NULL,
    seq     bigint NOT NULL,
    at      timestamptz NOT NULL,
    type    text NOT NULL,
    payload jsonb NOT NULL,
    PRIMARY KEY (room_id, seq)
);
CREATE INDEX room_events_by_age ON room_events USING brin (at);

CREATE TABLE room_seats (
    room_id      text NOT NULL,
    seat_index   smallint NOT NULL,
    user_id      text NOT NULL,
    display_name text NOT NULL,
    chips        bigint NOT NULL,
    status       text NOT NULL CHECK (status IN ('active', 'sitting_out')),
    time_bank_ms bigint NOT NULL,
    clock_outs   smallint NOT NULL,
    away         boolean NOT NULL,
    sitting_id   text NOT NULL,
    connected    boolean NOT NULL,
    last_seen_at timestamptz NOT NULL,
    PRIMARY KEY (room_id, seat_index),
    UNIQUE (room_id, user_id)
) WITH (fillfactor = 50);
CREATE INDEX room_seats_by_user ON room_seats (user_id);

CREATE FUNCTION room_id(number bigint) RETURNS text IMMUTABLE
    RETURN '00000000-0000-4000-8000-' || lpad(number::text, 12, '0');

INSERT INTO game_states
SELECT room_id(n), 0, 1, 0,
       '{"game": null, "hand": null, "legal": null, "seats": [], "timer": null}', now()
FROM generate_series(1, %(rooms)s) n;

INSERT INTO room_seats
SELECT room_id(n), seat, format('r%%su%%s', n, seat), format('r%%su%%s', n, seat), 2000, 'active',
       60000, 0, false, gen_random_uuid()::text, true, now()
FROM generate_series(1, %(rooms)s) n, generate_series(0, %(seats)s - 1) seat;

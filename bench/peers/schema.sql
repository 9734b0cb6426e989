-- What every peer writes to: the three tables that a small command touches. Filled for :rooms rooms
-- of :seats seats. Updates stay in place (fillfactor 50), as they do in Cardroom's own tables.

CREATE TABLE game_states (
    room_id integer PRIMARY KEY,
    seq bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE room_events (
    room_id integer NOT NULL,
    seq bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    type text NOT NULL,
    payload jsonb NOT NULL,
    PRIMARY KEY (room_id, seq)
);

CREATE TABLE room_seats (
    room_id integer NOT NULL,
    seat_index smallint NOT NULL,
    user_id text NOT NULL,
    status text NOT NULL DEFAULT 'active',
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (room_id, seat_index)
) WITH (fillfactor = 50);

INSERT INTO game_states (room_id) SELECT generate_series(1, %(rooms)s);
INSERT INTO room_seats (room_id, seat_index, user_id)
SELECT room, seat, 'r' || room || 'p' || seat
FROM generate_series(1, %(rooms)s) room, generate_series(0, %(seats)s - 1) seat;

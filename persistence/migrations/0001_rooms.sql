-- Rooms, hands, chips and who may write them.
--
-- All keys of a room's tables begin with or contain room_id, all of a player's user_id, so that the
-- schema can be sharded by them. Rows that every command updates leave room on their page
-- (fillfactor 50), so that updates stay in place. Append-only tables on the way of every command
-- carry no foreign keys: their parents are written in the same transaction.

CREATE FUNCTION from_ms(ms bigint) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'epoch'::timestamptz + ms * interval '1 millisecond';

CREATE FUNCTION to_ms(at timestamptz) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (extract(epoch FROM at) * 1000)::bigint;

CREATE TABLE nodes (
    node_id     text PRIMARY KEY,
    address     text NOT NULL,
    started_at  timestamptz NOT NULL,
    renewed_at  timestamptz NOT NULL,
    lease_until timestamptz NOT NULL
);

CREATE TABLE rooms (
    id                 text PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),
    code               text NOT NULL CONSTRAINT rooms_code_key UNIQUE,
    host_id            text NOT NULL,
    status             text NOT NULL DEFAULT 'waiting'
                       CHECK (status IN ('waiting', 'playing', 'paused', 'closed')),
    name               text NOT NULL CHECK (length(name) BETWEEN 1 AND 60),
    variant            text NOT NULL,
    small_blind        bigint NOT NULL CHECK (small_blind > 0),
    big_blind          bigint NOT NULL CHECK (big_blind >= small_blind),
    ante               bigint NOT NULL CHECK (ante >= 0),
    min_buy_in         bigint NOT NULL CHECK (min_buy_in > 0),
    max_buy_in         bigint NOT NULL CHECK (max_buy_in >= min_buy_in),
    max_seats          smallint NOT NULL CHECK (max_seats BETWEEN 2 AND 10),
    turn_seconds       integer NOT NULL CHECK (turn_seconds BETWEEN 5 AND 120),
    time_bank_seconds  integer NOT NULL CHECK (time_bank_seconds BETWEEN 0 AND 300),
    auto_start         boolean NOT NULL,
    requires_approval  boolean NOT NULL,
    spectators_allowed boolean NOT NULL,
    rake_basis_points  integer NOT NULL CHECK (rake_basis_points BETWEEN 0 AND 1000),
    rake_cap           bigint NOT NULL CHECK (rake_cap >= 0),
    is_private         boolean NOT NULL,
    next_settings      jsonb,
    closing            text,
    rigged_deck        text,
    owner_node         text,
    owner_epoch        bigint NOT NULL DEFAULT 0,
    created_at         timestamptz NOT NULL,
    closed_at          timestamptz
) WITH (fillfactor = 50);
CREATE INDEX rooms_live_by_owner ON rooms (owner_node) WHERE status <> 'closed';
CREATE INDEX rooms_lobby ON rooms (created_at) WHERE status <> 'closed' AND NOT is_private;

CREATE TABLE room_players (
    room_id      text NOT NULL REFERENCES rooms,
    user_id      text NOT NULL,
    display_name text NOT NULL,
    status       text NOT NULL CHECK (status IN ('pending', 'approved', 'rejected')),
    requested_at timestamptz NOT NULL,
    decided_at   timestamptz,
    told_seq     bigint NOT NULL,
    PRIMARY KEY (room_id, user_id)
);
CREATE INDEX room_players_by_user ON room_players (user_id);

CREATE TABLE room_seats (
    room_id        text NOT NULL REFERENCES rooms,
    seat_index     smallint NOT NULL CHECK (seat_index BETWEEN 0 AND 9),
    user_id        text NOT NULL,
    display_name   text NOT NULL,
    chips          bigint NOT NULL CONSTRAINT room_seats_chips_check CHECK (chips >= 0),
    status         text NOT NULL CHECK (status IN ('active', 'sitting_out')),
    time_bank_ms   bigint NOT NULL CHECK (time_bank_ms >= 0),
    clock_outs     smallint NOT NULL,
    away           boolean NOT NULL,
    leaving        text CHECK (leaving IN ('seat', 'room', 'kick', 'grace')),
    leaving_reason text,
    sitting_id     text NOT NULL,
    connected      boolean NOT NULL DEFAULT true,
    last_seen_at   timestamptz NOT NULL,
    PRIMARY KEY (room_id, seat_index),
    CONSTRAINT room_seats_user_key UNIQUE (room_id, user_id)
) WITH (fillfactor = 50);
CREATE INDEX room_seats_by_user ON room_seats (user_id);

CREATE TABLE room_spectators (
    room_id      text NOT NULL REFERENCES rooms,
    user_id      text NOT NULL,
    display_name text NOT NULL,
    connected    boolean NOT NULL DEFAULT true,
    last_seen_at timestamptz NOT NULL,
    PRIMARY KEY (room_id, user_id)
);
CREATE INDEX room_spectators_by_user ON room_spectators (user_id);

-- From sitting down to getting up: what book-keeping counts by.
CREATE TABLE sittings (
    id           text PRIMARY KEY,
    room_id      text NOT NULL REFERENCES rooms,
    user_id      text NOT NULL,
    display_name text NOT NULL,
    started_at   timestamptz NOT NULL,
    ended_at     timestamptz
);
CREATE INDEX sittings_by_room ON sittings (room_id, started_at);

CREATE TABLE rejoin_tokens (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room_id    text NOT NULL REFERENCES rooms,
    user_id    text NOT NULL,
    role       text NOT NULL,
    seat_index smallint,
    token_hash bytea NOT NULL CHECK (length(token_hash) = 32),
    replaced   boolean NOT NULL DEFAULT false,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX rejoin_tokens_by_hash ON rejoin_tokens (token_hash);
CREATE INDEX rejoin_tokens_by_user ON rejoin_tokens (room_id, user_id);

CREATE TABLE games (
    id             text PRIMARY KEY,
    room_id        text NOT NULL REFERENCES rooms CONSTRAINT games_room_key UNIQUE,
    status         text NOT NULL CHECK (status IN ('waiting', 'playing', 'paused', 'ended')),
    hands_played   integer NOT NULL,
    button_seat    smallint,
    big_blind_seat smallint,
    hand_ended_at  timestamptz,
    next_hand_at   timestamptz,
    started_at     timestamptz NOT NULL,
    ended_at       timestamptz
) WITH (fillfactor = 50);

-- One row a room: its sequence number, who may write it (the epoch that every commit carries), the
-- commit unit that wrote it last (so that a writer whose connection broke while it committed can see
-- whether it did) and the public state of play at that seq.
CREATE TABLE game_states (
    room_id       text PRIMARY KEY REFERENCES rooms,
    seq           bigint NOT NULL,
    owner_epoch   bigint NOT NULL,
    unit_id       bigint NOT NULL DEFAULT 0,
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

CREATE TABLE hands (
    id                text PRIMARY KEY,
    room_id           text NOT NULL,
    game_id           text NOT NULL,
    number            integer NOT NULL,
    variant           text NOT NULL,
    deck              text NOT NULL,
    button_seat       smallint NOT NULL,
    small_blind_seat  smallint NOT NULL,
    big_blind_seat    smallint NOT NULL,
    small_blind       bigint NOT NULL,
    big_blind         bigint NOT NULL,
    ante              bigint NOT NULL,
    rake_basis_points integer NOT NULL,
    rake_cap          bigint NOT NULL,
    turn_started_at   timestamptz,
    turn_deadline     timestamptz,
    board             text[] NOT NULL,
    pot               bigint NOT NULL CHECK (pot >= 0),
    current_bet       bigint NOT NULL,
    phase             text NOT NULL,
    rake              bigint NOT NULL,
    started_at        timestamptz NOT NULL,
    ended_at          timestamptz,
    CONSTRAINT hands_number_key UNIQUE (room_id, number)
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX hands_running ON hands (room_id) WHERE ended_at IS NULL;

-- A player in a hand; `position` is the dealing order, 0 being the small blind.
CREATE TABLE players (
    hand_id        text NOT NULL,
    room_id        text NOT NULL,
    position       smallint NOT NULL,
    user_id        text NOT NULL,
    seat_index     smallint NOT NULL,
    hole_cards     text[] NOT NULL,
    starting_stack bigint NOT NULL,
    final_stack    bigint CHECK (final_stack >= 0),
    shown          boolean NOT NULL DEFAULT false,
    PRIMARY KEY (hand_id, seat_index)
);
CREATE INDEX players_by_user ON players (user_id);

CREATE TABLE actions (
    hand_id    text NOT NULL,
    ordinal    integer NOT NULL,
    room_id    text NOT NULL,
    seq        bigint NOT NULL,
    seat_index smallint NOT NULL,
    user_id    text NOT NULL,
    action     text NOT NULL,
    amount     bigint NOT NULL,
    raise_to   bigint,
    auto       boolean NOT NULL,
    at         timestamptz NOT NULL,
    PRIMARY KEY (hand_id, ordinal)
);
CREATE INDEX actions_by_room ON actions (room_id, seq);

CREATE TABLE commands (
    command_id uuid NOT NULL,
    user_id    text NOT NULL,
    room_id    text,
    type       text NOT NULL,
    outcome    jsonb NOT NULL,
    at         timestamptz NOT NULL,
    CONSTRAINT commands_key PRIMARY KEY (command_id, user_id)
);
CREATE INDEX commands_by_age ON commands USING brin (at);

CREATE TABLE wallets (
    user_id    text PRIMARY KEY CHECK (length(user_id) BETWEEN 1 AND 64),
    name       text NOT NULL,
    balance    bigint NOT NULL CONSTRAINT wallets_balance_check CHECK (balance >= 0),
    created_at timestamptz NOT NULL
) WITH (fillfactor = 80);

-- Double entry: the amounts of one transfer sum to nothing. Accounts: a user's wallet, a user's
-- stack in a room, a hand's pot, the house, and the bank from which all credits come.
CREATE TABLE ledger_entries (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transfer_id text NOT NULL,
    account     text NOT NULL CHECK (account IN ('wallet', 'stack', 'pot', 'house', 'bank')),
    user_id     text,
    room_id     text,
    hand_id     text,
    sitting_id  text,
    amount      bigint NOT NULL CHECK (amount <> 0),
    kind        text NOT NULL,
    reason      text,
    at          timestamptz NOT NULL
);
CREATE INDEX ledger_entries_by_user ON ledger_entries (user_id, id);
CREATE INDEX ledger_entries_by_room ON ledger_entries (room_id, id);
CREATE INDEX ledger_entries_by_transfer ON ledger_entries (transfer_id);

CREATE TABLE audit_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL,
    user_id    text NOT NULL,
    role       text NOT NULL,
    action     text NOT NULL,
    room_id    text,
    subject_id text,
    source     text NOT NULL,
    details    jsonb NOT NULL
);
CREATE INDEX audit_log_by_room ON audit_log (room_id, id);
CREATE INDEX audit_log_by_user ON audit_log (user_id, id);


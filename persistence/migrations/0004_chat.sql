-- Support chat, its canned replies, and the outbox of push notifications.
--
-- All keys of a player's tables contain player_id.

-- Whoever of the staff has come in, as push notifications for all of them need it.
CREATE TABLE club_staff (
    user_id text PRIMARY KEY CHECK (length(user_id) BETWEEN 1 AND 64),
    name    text NOT NULL,
    seen_at timestamptz NOT NULL
);

-- A conversation. `seq` is that of the last event told in it; `unit_id` names the commit unit that
-- wrote it last (so that a writer whose connection broke while it committed can see whether it did);
-- `outside` counts the writes that were no server's. The three are the fence of its actor's commits.
CREATE TABLE chat_sessions (
    id                  text PRIMARY KEY DEFAULT gen_random_uuid()::text
                        CHECK (length(id) BETWEEN 1 AND 64),
    player_id           text NOT NULL CHECK (length(player_id) BETWEEN 1 AND 64),
    player_name         text NOT NULL
                        CHECK (length(player_name) BETWEEN 1 AND 60
                               AND player_name !~ '[\x01-\x1f\x7f]'),
    initial_message     text NOT NULL DEFAULT '' CHECK (length(initial_message) <= 4000),
    status              text NOT NULL DEFAULT 'waiting'
                        CHECK (status IN ('waiting', 'in_progress', 'resolved')),
    assigned_staff      text CHECK (length(assigned_staff) BETWEEN 1 AND 64),
    assigned_staff_name text,
    urgency             text NOT NULL DEFAULT 'normal' CHECK (urgency IN ('low', 'normal', 'high')),
    unread_by_player    integer NOT NULL DEFAULT 0 CHECK (unread_by_player >= 0),
    unread_by_staff     integer NOT NULL DEFAULT 0 CHECK (unread_by_staff >= 0),
    created_at          timestamptz NOT NULL DEFAULT now() CHECK (is_of_our_time(created_at)),
    updated_at          timestamptz NOT NULL DEFAULT now() CHECK (is_of_our_time(updated_at)),
    waiting_since       timestamptz NOT NULL DEFAULT now() CHECK (is_of_our_time(waiting_since)),
    first_reply_at      timestamptz CHECK (is_of_our_time(first_reply_at)),
    last_message_at     timestamptz CHECK (is_of_our_time(last_message_at)),
    resolved_at         timestamptz CHECK (is_of_our_time(resolved_at)),
    seq                 bigint NOT NULL DEFAULT 0,
    unit_id             bigint NOT NULL DEFAULT 0,
    outside             bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX chat_sessions_open_key ON chat_sessions (player_id) WHERE status <> 'resolved';
CREATE INDEX chat_sessions_by_player ON chat_sessions (player_id, created_at);
CREATE INDEX chat_sessions_inbox ON chat_sessions
    (status, (coalesce(last_message_at, created_at)) DESC);

-- What was said; `seq` is that of the event that told it, null before it is told. The id is its
-- writer's own choice, so it is a key together with whose conversation it is in.
CREATE TABLE chat_messages (
    id           text NOT NULL DEFAULT gen_random_uuid()::text CHECK (length(id) BETWEEN 1 AND 64),
    session_id   text NOT NULL,
    player_id    text NOT NULL,
    sender       text NOT NULL CHECK (sender IN ('player', 'staff', 'system')),
    sender_id    text,
    sender_name  text NOT NULL,
    message_text text NOT NULL CHECK (length(message_text) BETWEEN 1 AND 4000),
    "timestamp"  timestamptz NOT NULL DEFAULT now() CHECK (is_of_our_time("timestamp")),
    seq          bigint,
    status       text NOT NULL DEFAULT 'sent' CHECK (status IN ('sent', 'received', 'read')),
    received_at  timestamptz,
    read_at      timestamptz,
    source       text NOT NULL DEFAULT 'external',
    CONSTRAINT chat_messages_key PRIMARY KEY (id, player_id)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX chat_messages_seq_key ON chat_messages (session_id, seq);
CREATE INDEX chat_messages_unread ON chat_messages (session_id, seq) WHERE status <> 'read';
CREATE INDEX chat_messages_by_player ON chat_messages (player_id, "timestamp", seq);

-- The staff portal's older name for the conversations.
CREATE VIEW chat_requests AS
    SELECT id, player_id, player_name, initial_message, status, assigned_staff, urgency,
           unread_by_player, unread_by_staff, created_at, updated_at, waiting_since,
           first_reply_at, last_message_at, resolved_at
    FROM chat_sessions;

CREATE TABLE canned_replies (
    shortcut     text PRIMARY KEY CHECK (shortcut ~ '^/[^\s/]{1,39}$'),
    message_text text NOT NULL CHECK (length(message_text) BETWEEN 1 AND 4000),
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);

-- The outbox. A row is written in the transaction of what it announces and delivered by whoever
-- finds it due; `next_attempt_at` of a row that is being sent is when somebody else may try. The id
-- is the provider's idempotency key. After `expires_at` it is not worth sending any more.
CREATE TABLE push_notifications (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    kind            text NOT NULL
                    CHECK (kind IN ('chat_request', 'chat_message', 'seat_offer', 'join_request')),
    recipients      text[] NOT NULL,
    title           text NOT NULL,
    body            text NOT NULL,
    data            jsonb NOT NULL DEFAULT '{}',
    status          text NOT NULL DEFAULT 'pending'
                    CHECK (status IN ('pending', 'sent', 'dead', 'skipped')),
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz,
    last_error      text,
    provider_id     text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz
) WITH (fillfactor = 70);
CREATE INDEX push_notifications_due ON push_notifications (next_attempt_at)
    WHERE status = 'pending';
CREATE INDEX push_notifications_by_age ON push_notifications USING brin (created_at);

-- The journal. What was all of it is now the part for rooms; that for chats is in 0005.
ALTER FUNCTION commit_batch(jsonb) RENAME TO commit_rooms;

CREATE FUNCTION commit_batch(batch jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF jsonb_array_length(batch -> 'Advance') > 0 OR batch ? 'Membership' OR batch ? 'CommandDone' THEN
        PERFORM commit_rooms(batch);
    END IF;
    IF batch ? 'ChatAdvance' THEN
        PERFORM commit_chats(batch);
    END IF;
    IF batch ? 'PushQueued' THEN
        INSERT INTO push_notifications (kind, recipients, title, body, data, next_attempt_at,
                                        expires_at, created_at)
        SELECT r ->> 0,
               CASE WHEN r ->> 1 IS NOT NULL THEN ARRAY[r ->> 1]
                    ELSE ARRAY(SELECT user_id FROM club_staff ORDER BY user_id) END,
               r ->> 2, r ->> 3, r -> 4, from_ms((r ->> 6)::bigint), from_ms((r ->> 5)::bigint),
               from_ms((r ->> 6)::bigint)
        FROM jsonb_array_elements(batch -> 'PushQueued') r;
    END IF;
END $$;

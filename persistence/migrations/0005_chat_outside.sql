-- Writes from outside to support chat, as 0003 has them for rooms: each is an entry of its session's
-- inbox, written in the transaction of the write itself; `chat_sessions.outside` counts them and is
-- part of the fence. What cannot be told is refused with SQLSTATE CR003.

-- What was said is left out of it: it stands in chat_messages.
CREATE TABLE outside_chat_writes (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id text NOT NULL,
    relation   text NOT NULL,
    before     jsonb,
    after      jsonb,
    written_by text NOT NULL,
    written_at timestamptz NOT NULL
);
CREATE INDEX outside_chat_writes_by_session ON outside_chat_writes (session_id, id);

-- Puts a write into the session's inbox and has servers told; fired as the transaction commits. What
-- was written to a conversation that was not made has its insert told, in the one that it went to.
CREATE FUNCTION note_chat_write(session text, player text, relation text, before jsonb, after jsonb)
    RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    writer text := session_user
        || coalesce('/' || nullif(current_setting('application_name'), ''), '');
    is_there boolean;
BEGIN
    PERFORM set_config('cardroom.journal', 'on', true);
    UPDATE chat_sessions SET outside = outside + 1 WHERE id = session;
    is_there := FOUND;
    PERFORM set_config('cardroom.journal', '', true);
    IF NOT is_there THEN
        RETURN;
    END IF;
    INSERT INTO outside_chat_writes (session_id, relation, before, after, written_by, written_at)
    VALUES (session, relation, before, after, writer, clock_timestamp());
    INSERT INTO audit_log (at, user_id, role, action, subject_id, source, details)
    VALUES (clock_timestamp(), session_user, 'external',
            relation || CASE WHEN before IS NULL THEN '.insert'
                             WHEN after IS NULL THEN '.delete' ELSE '.update' END,
            session, 'sql',
            jsonb_build_object('by', writer, 'player_id', player,
                               'before', before - 'initial_message',
                               'after', after - 'initial_message'));
    PERFORM pg_notify('cardroom_chats', session);
END $$;

-- Older portals say pending and active.
CREATE FUNCTION chat_status(word text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE word WHEN 'pending' THEN 'waiting' WHEN 'active' THEN 'in_progress' ELSE word END;

CREATE FUNCTION one_line(words text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN nullif(btrim(left(regexp_replace(words, '[\x01-\x1f\x7f]', ' ', 'g'), 60)), '');

-- Conversations.

-- Makes a row whole. A second open conversation of a player is not made. Counts and times are the
-- server's: whoever writes them along changes nothing, but nobody's count of unread messages to 0,
-- which says that they were read.
CREATE FUNCTION complete_chat_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.status := coalesce(chat_status(NEW.status), 'waiting');
    NEW.urgency := coalesce(NEW.urgency, 'normal');
    NEW.initial_message := left(coalesce(NEW.initial_message, ''), 4000);
    NEW.assigned_staff := nullif(NEW.assigned_staff, '');
    NEW.player_name := coalesce(one_line(NEW.player_name),
        (SELECT one_line(name) FROM wallets WHERE user_id = NEW.player_id),
        one_line(NEW.player_id), 'Player');
    IF TG_OP = 'INSERT' THEN
        NEW.id := coalesce(NEW.id, gen_random_uuid()::text);
        IF NEW.id ~ '[\x01-\x1f\x7f]' THEN
            RAISE EXCEPTION 'a conversation''s id has no control characters; leave it out'
                USING ERRCODE = 'CR003';
        END IF;
        IF NEW.status <> 'resolved' AND EXISTS (
                SELECT FROM chat_sessions
                WHERE player_id = NEW.player_id AND status <> 'resolved' AND id <> NEW.id) THEN
            RETURN NULL;
        END IF;
        NEW.created_at := coalesce(NEW.created_at, now());
        NEW.updated_at := now();
        NEW.waiting_since := coalesce(NEW.waiting_since, NEW.created_at);
        NEW.first_reply_at := NULL;
        NEW.last_message_at := NULL;
        NEW.resolved_at := CASE WHEN NEW.status = 'resolved' THEN coalesce(NEW.resolved_at, now()) END;
        NEW.unread_by_player := 0;
        NEW.unread_by_staff := 0;
        NEW.seq := 0;
        NEW.unit_id := 0;
        NEW.outside := 0;
    ELSE
        IF (NEW.id, NEW.player_id) IS DISTINCT FROM (OLD.id, OLD.player_id) THEN
            RAISE EXCEPTION 'a conversation''s id and player do not change; open another one'
                USING ERRCODE = 'CR003';
        ELSIF (NEW.seq, NEW.unit_id, NEW.outside)
                IS DISTINCT FROM (OLD.seq, OLD.unit_id, OLD.outside) THEN
            RAISE EXCEPTION 'seq, unit_id and outside are the server''s; leave them out'
                USING ERRCODE = 'CR003';
        END IF;
        NEW.created_at := OLD.created_at;
        NEW.updated_at := OLD.updated_at;
        NEW.waiting_since := OLD.waiting_since;
        NEW.first_reply_at := OLD.first_reply_at;
        NEW.last_message_at := OLD.last_message_at;
        NEW.resolved_at := OLD.resolved_at;
        IF NEW.unread_by_player IS DISTINCT FROM 0 THEN
            NEW.unread_by_player := OLD.unread_by_player;
        END IF;
        IF NEW.unread_by_staff IS DISTINCT FROM 0 THEN
            NEW.unread_by_staff := OLD.unread_by_staff;
        END IF;
    END IF;
    IF NEW.assigned_staff IS NULL THEN
        NEW.assigned_staff_name := NULL;
    ELSIF TG_OP = 'INSERT' OR NEW.assigned_staff IS DISTINCT FROM OLD.assigned_staff THEN
        NEW.assigned_staff_name := coalesce(
            (SELECT one_line(name) FROM club_staff WHERE user_id = NEW.assigned_staff),
            one_line(NEW.assigned_staff));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER chat_sessions_complete BEFORE INSERT OR UPDATE ON chat_sessions
    FOR EACH ROW WHEN (is_outside()) EXECUTE FUNCTION complete_chat_session();

CREATE FUNCTION note_chat_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM note_chat_write(NEW.id, NEW.player_id, 'chat_sessions', NULL, to_jsonb(NEW));
    ELSIF NEW IS DISTINCT FROM OLD THEN
        PERFORM note_chat_write(NEW.id, NEW.player_id, 'chat_sessions', to_jsonb(OLD), to_jsonb(NEW));
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER chat_sessions_noted AFTER INSERT OR UPDATE ON chat_sessions
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (is_outside()) EXECUTE FUNCTION note_chat_session();

CREATE FUNCTION refuse_chat_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a conversation is kept; resolve it, and delete its messages'
        USING ERRCODE = 'CR003';
END $$;
CREATE TRIGGER chat_sessions_not_deleted BEFORE DELETE ON chat_sessions
    FOR EACH ROW WHEN (is_outside()) EXECUTE FUNCTION refuse_chat_delete();

-- Messages.

-- Finds a player's open conversation, or opens one.
CREATE FUNCTION open_chat(player text, called text, first_said text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    found_id text;
BEGIN
    LOOP
        SELECT id INTO found_id FROM chat_sessions
        WHERE player_id = player AND status <> 'resolved';
        EXIT WHEN found_id IS NOT NULL;
        -- Whoever opens one at the same moment is waited for, and his is taken.
        INSERT INTO chat_sessions (player_id, player_name, initial_message)
        VALUES (player, coalesce((SELECT name FROM wallets WHERE user_id = player), called), first_said)
        ON CONFLICT DO NOTHING
        RETURNING id INTO found_id;
        EXIT WHEN found_id IS NOT NULL;
    END LOOP;
    RETURN found_id;
END $$;

-- Makes a row whole: finds its conversation, and does not make a message a second time. A player's
-- message for a conversation that is over goes to the open one. A conversation that is not there may
-- be written by the same transaction, after its message.
CREATE FUNCTION complete_chat_message() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    chat chat_sessions;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.id, NEW.session_id, NEW.player_id, NEW.seq, NEW.sender, NEW.sender_id,
            NEW."timestamp") IS DISTINCT FROM (OLD.id, OLD.session_id, OLD.player_id, OLD.seq,
                                               OLD.sender, OLD.sender_id, OLD."timestamp") THEN
            RAISE EXCEPTION 'who said something, when and where, does not change; delete the '
                'message and write another' USING ERRCODE = 'CR003';
        END IF;
        -- How far it got is not taken back.
        IF (OLD.status, NEW.status) IN (('read', 'sent'), ('read', 'received'), ('received', 'sent')) THEN
            NEW.status := OLD.status;
        END IF;
        NEW.received_at := coalesce(
            OLD.received_at, CASE WHEN NEW.status <> 'sent' THEN clock_timestamp() END);
        NEW.read_at := coalesce(
            OLD.read_at, CASE WHEN NEW.status = 'read' THEN clock_timestamp() END);
        RETURN NEW;
    END IF;
    NEW.id := coalesce(NEW.id, gen_random_uuid()::text);
    NEW.seq := NULL;
    NEW.status := coalesce(NEW.status, 'sent');
    NEW."timestamp" := coalesce(NEW."timestamp", now());
    NEW.source := coalesce(NEW.source, 'external');
    -- Who answers may be given the conversation.
    NEW.sender_id := nullif(left(NEW.sender_id, 64), '');
    NEW.received_at := CASE WHEN NEW.status <> 'sent' THEN now() END;
    NEW.read_at := CASE WHEN NEW.status = 'read' THEN now() END;
    SELECT * INTO chat FROM chat_sessions WHERE id = NEW.session_id;
    NEW.player_id := coalesce(NEW.player_id, chat.player_id);
    IF NEW.player_id IS NULL THEN
        RAISE EXCEPTION 'say whose message it is: player_id, or the session_id of a conversation'
            USING ERRCODE = 'CR003';
    ELSIF NEW.player_id <> chat.player_id THEN
        RAISE EXCEPTION 'this conversation is with another player; leave session_id out'
            USING ERRCODE = 'CR003';
    ELSIF NEW.id ~ '[\x01-\x1f\x7f]' THEN
        RAISE EXCEPTION 'a message''s id has no control characters; leave it out'
            USING ERRCODE = 'CR003';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('chat/' || NEW.player_id || '/' || NEW.id, 0));
    IF EXISTS (SELECT FROM chat_messages WHERE id = NEW.id AND player_id = NEW.player_id) THEN
        RETURN NULL;
    END IF;
    IF NEW.sender = 'player' THEN
        NEW.sender_id := NEW.player_id;
        -- seq 0: a conversation of long ago that somebody brings along is nobody's to open again.
        IF chat.status = 'resolved' AND chat.seq > 0 THEN
            NEW.session_id := NULL;
        END IF;
    END IF;
    NEW.session_id := coalesce(NEW.session_id,
        open_chat(NEW.player_id, CASE WHEN NEW.sender = 'player' THEN NEW.sender_name END,
                  NEW.message_text));
    NEW.sender_name := coalesce(one_line(NEW.sender_name), CASE NEW.sender
        WHEN 'player' THEN coalesce(
            chat.player_name, (SELECT one_line(name) FROM wallets WHERE user_id = NEW.player_id),
            one_line(NEW.player_id), 'Player')
        WHEN 'staff' THEN coalesce(
            (SELECT one_line(name) FROM club_staff WHERE user_id = NEW.sender_id), 'Staff')
        ELSE 'System' END);
    RETURN NEW;
END $$;
CREATE TRIGGER chat_messages_complete BEFORE INSERT OR UPDATE ON chat_messages
    FOR EACH ROW WHEN (is_outside()) EXECUTE FUNCTION complete_chat_message();

CREATE FUNCTION told_of(message chat_messages) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object('id', (message).id, 'sender', (message).sender, 'seq', (message).seq,
                              'status', (message).status);

CREATE FUNCTION note_chat_message() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    session text;
    owner text;
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM note_chat_write(OLD.session_id, OLD.player_id, 'chat_messages', told_of(OLD), NULL);
    ELSIF TG_OP = 'UPDATE' THEN
        IF NEW IS DISTINCT FROM OLD THEN
            PERFORM note_chat_write(
                NEW.session_id, NEW.player_id, 'chat_messages', told_of(OLD), told_of(NEW));
        END IF;
    ELSE
        session := NEW.session_id;
        SELECT player_id INTO owner FROM chat_sessions WHERE id = session;
        IF owner IS NULL THEN
            -- Of a conversation that was not made, as the player has another one.
            session := open_chat(NEW.player_id, NULL, NEW.message_text);
            PERFORM set_config('cardroom.journal', 'on', true);
            UPDATE chat_messages SET session_id = session
            WHERE id = NEW.id AND player_id = NEW.player_id;
            PERFORM set_config('cardroom.journal', '', true);
        ELSIF owner <> NEW.player_id THEN
            RAISE EXCEPTION 'this conversation is with another player; leave session_id out'
                USING ERRCODE = 'CR003';
        END IF;
        PERFORM note_chat_write(session, NEW.player_id, 'chat_messages', NULL, told_of(NEW));
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER chat_messages_noted AFTER INSERT OR UPDATE OR DELETE ON chat_messages
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (is_outside()) EXECUTE FUNCTION note_chat_message();

-- No row trigger sees a TRUNCATE.
CREATE FUNCTION refuse_chat_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF is_outside() THEN
        RAISE EXCEPTION 'delete the messages instead, so that everybody learns of it'
            USING ERRCODE = 'CR003';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER chat_sessions_not_truncated BEFORE TRUNCATE ON chat_sessions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_chat_truncate();
CREATE TRIGGER chat_messages_not_truncated BEFORE TRUNCATE ON chat_messages
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_chat_truncate();

-- The journal: the conversation's row is written whole, whatever stands in it, and what was written
-- from outside is told in the commit that takes it out of the inbox.

-- The fence of conversations, and their rows: advances those of a batch, making those that begin, or
-- raises naming (in the error's detail) those that are no longer where their writer believes.
-- A row: session_id, seq, next_seq, unit_id, outside, opens, player_id, player_name, initial_message,
-- status, assigned_staff, assigned_staff_name, urgency, unread_by_player, unread_by_staff,
-- created_at, updated_at, waiting_since, first_reply_at, last_message_at, resolved_at.
CREATE FUNCTION advance_chats(believed jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    advanced text[];
BEGIN
    INSERT INTO chat_sessions (id, player_id, player_name, initial_message, created_at, updated_at)
    SELECT r ->> 0, r ->> 6, r ->> 7, r ->> 8, from_ms((r ->> 15)::bigint),
           from_ms((r ->> 16)::bigint)
    FROM jsonb_array_elements(believed) r WHERE (r ->> 5)::boolean;

    WITH done AS (
        UPDATE chat_sessions s
        SET seq = (r ->> 2)::bigint, unit_id = (r ->> 3)::bigint, player_name = r ->> 7,
            initial_message = r ->> 8, status = r ->> 9,
            assigned_staff = r ->> 10, assigned_staff_name = r ->> 11, urgency = r ->> 12,
            unread_by_player = (r ->> 13)::integer, unread_by_staff = (r ->> 14)::integer,
            updated_at = from_ms((r ->> 16)::bigint), waiting_since = from_ms((r ->> 17)::bigint),
            first_reply_at = from_ms((r ->> 18)::bigint),
            last_message_at = from_ms((r ->> 19)::bigint),
            resolved_at = from_ms((r ->> 20)::bigint)
        FROM jsonb_array_elements(believed) r
        WHERE s.id = r ->> 0 AND s.seq = (r ->> 1)::bigint AND s.outside = (r ->> 4)::bigint
        RETURNING s.id
    )
    SELECT coalesce(array_agg(id), '{}') INTO advanced FROM done;
    IF cardinality(advanced) <> jsonb_array_length(believed) THEN
        RAISE EXCEPTION 'superseded' USING
            ERRCODE = 'CR001',
            DETAIL = (SELECT coalesce(string_agg(r ->> 0, E'\n'), '')
                      FROM jsonb_array_elements(believed) r WHERE r ->> 0 <> ALL (advanced));
    END IF;
END $$;

CREATE FUNCTION commit_chats(batch jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM advance_chats(batch -> 'ChatAdvance');

    IF batch ? 'ChatMessagePut' THEN
        INSERT INTO chat_messages (id, session_id, player_id, sender, sender_id, sender_name,
                                   message_text, "timestamp", seq, source)
        SELECT r ->> 0, r ->> 1, r ->> 2, r ->> 3, r ->> 4, r ->> 5, r ->> 6,
               from_ms((r ->> 7)::bigint), (r ->> 8)::bigint, r ->> 9
        FROM jsonb_array_elements(batch -> 'ChatMessagePut') r;
    END IF;

    IF batch ? 'ChatMessageTold' THEN
        UPDATE chat_messages m
        SET seq = (r ->> 2)::bigint, "timestamp" = from_ms((r ->> 3)::bigint)
        FROM jsonb_array_elements(batch -> 'ChatMessageTold') r
        WHERE m.id = r ->> 0 AND m.player_id = r ->> 1;
    END IF;

    IF batch ? 'ChatMarked' THEN
        -- In the order in which they were decided: a message may be received and read in one unit.
        UPDATE chat_messages m
        SET status = r.status,
            received_at = coalesce(m.received_at, r.at),
            read_at = CASE WHEN r.status = 'read' THEN r.at END
        FROM (SELECT DISTINCT ON (1, 2) e.r ->> 0 AS session_id, (e.r ->> 1)::bigint AS seq,
                     e.r ->> 2 AS status, from_ms((e.r ->> 3)::bigint) AS at
              FROM jsonb_array_elements(batch -> 'ChatMarked') WITH ORDINALITY e (r, n)
              ORDER BY 1, 2, e.n DESC) r
        WHERE m.session_id = r.session_id AND m.seq = r.seq;
    END IF;

    IF batch ? 'ChatOutsideTold' THEN
        DELETE FROM outside_chat_writes o
        USING jsonb_array_elements(batch -> 'ChatOutsideTold') r
        WHERE o.session_id = r ->> 0 AND o.id <= (r ->> 1)::bigint;
    END IF;
END $$;

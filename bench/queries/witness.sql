-- Holds each commit to its word: what lies on a table is what the ledger has brought there.
-- `witness_tables` sums the ledger's stack entries of each room as they are written; at the end of
-- every transaction that moved a room on, the seats and the running pot must hold just that.

CREATE TABLE witness_tables (room_id text PRIMARY KEY, chips bigint NOT NULL);
CREATE TABLE witness_commits (room_id text PRIMARY KEY, commits bigint NOT NULL);

CREATE FUNCTION witness_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO witness_tables AS w VALUES (NEW.room_id, NEW.amount)
    ON CONFLICT (room_id) DO UPDATE SET chips = w.chips + NEW.amount;
    RETURN NULL;
END $$;
CREATE TRIGGER witness_entry AFTER INSERT ON ledger_entries
    FOR EACH ROW WHEN (NEW.account = 'stack') EXECUTE FUNCTION witness_entry();

CREATE FUNCTION witness_commit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    brought bigint := coalesce((SELECT chips FROM witness_tables WHERE room_id = NEW.room_id), 0);
    there bigint := coalesce((SELECT sum(chips) FROM room_seats WHERE room_id = NEW.room_id), 0)
        + coalesce((SELECT sum(pot) FROM hands WHERE room_id = NEW.room_id AND ended_at IS NULL), 0);
BEGIN
    IF brought <> there THEN
        RAISE EXCEPTION 'room % holds % chips, the ledger says %', NEW.room_id, there, brought;
    END IF;
    INSERT INTO witness_commits AS w VALUES (NEW.room_id, 1)
    ON CONFLICT (room_id) DO UPDATE SET commits = w.commits + 1;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER witness_commit AFTER UPDATE ON game_states
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.seq > OLD.seq) EXECUTE FUNCTION witness_commit();

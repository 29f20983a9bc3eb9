"""The tables, triggers and functions of the PostgreSQL store, each a numbered migration; all names are unqualified."""

from __future__ import annotations

from typing import Final

_LOG: Final = """
CREATE TABLE events (
    position bigint PRIMARY KEY,
    stream text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    type text NOT NULL,
    time text NOT NULL,
    data text NOT NULL,
    digest bytea NOT NULL,
    UNIQUE (stream, version)
);
CREATE TABLE head (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    position bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO head (position) VALUES (0);
CREATE TABLE keys (
    key text COLLATE "C" PRIMARY KEY,
    digest bytea NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL
);
CREATE TABLE bodies (
    digest text COLLATE "C" PRIMARY KEY,
    salt bytea NOT NULL,
    headers text NOT NULL,
    content bytea NOT NULL
);
CREATE TABLE views (
    name text COLLATE "C" PRIMARY KEY,
    definition text NOT NULL
);
"""

# One check a statement, however many rows: the new positions and the new versions of each stream go on, without a gap,
# where the log and the stream ended. The head counts too: the positions of a tail that was cut off are not used again.
_APPEND_ONLY: Final = """
CREATE FUNCTION events_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the log is append-only' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE FUNCTION events_keep_insert() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    lowest bigint;
    highest bigint;
    total bigint;
BEGIN
    SELECT min(position), max(position), count(*) INTO lowest, highest, total FROM inserted;
    IF total > 0 AND (
        lowest IS DISTINCT FROM 1 + greatest(
            (SELECT position FROM head), (SELECT max(position) FROM events WHERE position < lowest)
        )
        OR highest - lowest + 1 <> total
        OR EXISTS (
            SELECT FROM (
                SELECT stream, min(version) AS low, max(version) AS high, count(*) AS number
                FROM inserted GROUP BY stream
            ) AS each
            WHERE high - low + 1 <> number
            OR high <> (SELECT max(version) FROM events WHERE stream = each.stream)
            OR low <> 1 AND (SELECT 1 FROM events WHERE stream = each.stream AND version = low - 1) IS NULL
        )
    ) THEN
        RAISE EXCEPTION 'the log is append-only' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER events_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION events_keep();
CREATE TRIGGER events_keep_insert AFTER INSERT ON events
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION events_keep_insert();
"""

# What one call of append_members is given and answers is described beside its caller, in calling.py.
_APPEND: Final = """
CREATE FUNCTION apply_changes(changes jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    change jsonb;
BEGIN
    FOR change IN SELECT jsonb_array_elements(changes) LOOP
        EXECUTE format('SELECT %I($1)', change->>0) USING change->1;
    END LOOP;
END $$;
CREATE FUNCTION append_members(
    member_keys int[], write_members int[], write_streams int[], write_expected bigint[], write_sizes bigint[],
    request jsonb, advance boolean
) RETURNS TABLE (outcome int, first bigint, last bigint, stored bytea) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    base bigint;
    place bigint;
    versions bigint[];
    known_digest bytea[];
    known_first bigint[];
    known_last bigint[];
    known_there boolean[];
    digests bytea[];
    names text[];
    stored_keys int[] := '{}';
    accepted boolean[];
    starts bigint[] := array_fill(-1::bigint, ARRAY[cardinality(write_members)]);
    befores bigint[] := starts;
    refused boolean := false;
    w int := 1;
    w_first int;
    w_wrong int;
    k int;
    s int;
    inserted bigint;
BEGIN
    -- The lock of all writers. What the statements below read, they read as its last holder left it.
    SELECT position INTO STRICT base FROM head FOR UPDATE;
    base := greatest(base, (SELECT max(position) FROM events));
    place := base;
    SELECT array_agg(name ORDER BY n), array_agg(coalesce(
        (SELECT max(version) FROM events WHERE stream = name), 0
    ) ORDER BY n) INTO names, versions
    FROM jsonb_array_elements_text(request->'streams') WITH ORDINALITY AS each(name, n);
    IF jsonb_array_length(request->'keys') > 0 THEN
        SELECT
            array_agg(keys.digest ORDER BY n), array_agg(keys.first ORDER BY n), array_agg(keys.last ORDER BY n),
            array_agg((SELECT 1 FROM events WHERE position = keys.last) IS NOT NULL ORDER BY n)
        INTO known_digest, known_first, known_last, known_there
        FROM jsonb_array_elements_text(request->'keys') WITH ORDINALITY AS each(name, n)
        LEFT JOIN keys ON keys.key = name;
        SELECT array_agg(decode(name, 'hex') ORDER BY n) INTO digests
        FROM jsonb_array_elements_text(request->'digests') WITH ORDINALITY AS each(name, n);
    END IF;
    FOR m IN 1..cardinality(member_keys) LOOP
        k := member_keys[m];
        w_first := w;
        w_wrong := 0;
        WHILE write_members[w] = m LOOP
            IF w_wrong = 0 AND write_expected[w] <> versions[write_streams[w]] THEN
                w_wrong := w;
            END IF;
            w := w + 1;
        END LOOP;
        stored := NULL;
        IF k > 0 AND known_last[k] IS NOT NULL THEN
            first := known_first[k];
            last := known_last[k];
            IF NOT known_there[k] THEN
                outcome := 4;
            ELSIF known_digest[k] <> digests[m] THEN
                outcome := 3;
                stored := known_digest[k];
            ELSE
                outcome := 1;
            END IF;
        ELSIF w_wrong > 0 THEN
            outcome := 2;
            first := w_wrong - w_first;
            last := versions[write_streams[w_wrong]];
        ELSE
            outcome := 0;
            first := place + 1;
            FOR i IN w_first..w - 1 LOOP
                s := write_streams[i];
                starts[i] := place;
                befores[i] := versions[s];
                place := place + write_sizes[i];
                versions[s] := versions[s] + write_sizes[i];
            END LOOP;
            last := place;
            IF k > 0 THEN
                known_digest[k] := digests[m];
                known_first[k] := first;
                known_last[k] := last;
                known_there[k] := true;
                stored_keys := stored_keys || k;
            END IF;
        END IF;
        accepted[m] := outcome = 0;
        refused := refused OR outcome > 0;
        RETURN NEXT;
    END LOOP;
    IF place = base THEN
        RETURN;
    END IF;
    INSERT INTO events (position, stream, version, type, time, data, digest)
    SELECT
        position, stream, version, type, time, data,
        sha256(convert_to(
            E'refold event 1\\n' || position || E'\\n' || stream || E'\\n' || version || E'\\n'
            || type || E'\\n' || time || E'\\n' || data, 'UTF8'
        ))
    FROM (
        SELECT
            starts[(event->>0)::int] + (event->>1)::int AS position,
            names[write_streams[(event->>0)::int]] AS stream,
            befores[(event->>0)::int] + (event->>1)::int AS version,
            event->>2 AS type, event->>3 AS time, event->>4 AS data
        FROM jsonb_array_elements(request->'events') AS event
        WHERE starts[(event->>0)::int] >= 0
        OFFSET 0
    ) AS placed;
    GET DIAGNOSTICS inserted = ROW_COUNT;
    IF inserted <> place - base THEN
        RAISE 'a trigger on the table events kept % of % events out; drop it', place - base - inserted, place - base;
    END IF;
    IF advance THEN
        UPDATE head SET position = place;
    END IF;
    IF cardinality(stored_keys) > 0 THEN
        INSERT INTO keys (key, digest, first, last)
        SELECT request->'keys'->>(each - 1), known_digest[each], known_first[each], known_last[each]
        FROM unnest(stored_keys) AS each;
    END IF;
    IF jsonb_array_length(request->'bodies') > 0 THEN
        INSERT INTO bodies (digest, salt, headers, content)
        SELECT body->>1, decode(body->>2, 'hex'), body->>3, decode(body->>4, 'hex')
        FROM jsonb_array_elements(request->'bodies') AS body
        WHERE accepted[(body->>0)::int]
        ON CONFLICT DO NOTHING;
    END IF;
    IF NOT refused THEN
        PERFORM apply_changes(request->'changes');
    ELSE
        PERFORM apply_changes((
            SELECT coalesce(jsonb_agg(jsonb_build_array(change->0, (
                SELECT coalesce(jsonb_agg(item ORDER BY n), '[]')
                FROM jsonb_array_elements(change->1) WITH ORDINALITY AS each(item, n)
                WHERE accepted[(item->>0)::int]
            )) ORDER BY turn), '[]')
            FROM jsonb_array_elements(request->'changes') WITH ORDINALITY AS each(change, turn)
        ));
    END IF;
END $$;
"""

# The same again, for a schema from before appends were counted.
_COUNTED: Final = _APPEND.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")

# The counter is never reset: a token is never used again, however many leases have ended.
_LEASES: Final = """
CREATE TABLE leases (
    name text COLLATE "C" PRIMARY KEY,
    token bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    holder text NOT NULL,
    until text COLLATE "C" NOT NULL
);
"""

_SUBSCRIPTIONS: Final = """
CREATE TABLE subscriptions (
    name text COLLATE "C" PRIMARY KEY,
    checkpoint bigint NOT NULL
);
CREATE TABLE dead_letters (
    name text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    stream text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    type text NOT NULL,
    time text NOT NULL,
    data text NOT NULL,
    digest bytea NOT NULL,
    error text NOT NULL,
    reason text NOT NULL,
    attempts bigint NOT NULL,
    set_aside_at text NOT NULL,
    PRIMARY KEY (name, position)
);
CREATE INDEX dead_letters_by_stream ON dead_letters (name, stream, position);
"""

# What it is given and answers is described beside its caller, in subscribing.py. All who change checkpoints, leases or
# views hold the lock of all writers: what is read here stays so until the end of the transaction. What was done before
# a refusal is undone with the inner block.
_ADVANCE: Final = """
CREATE FUNCTION advance_checkpoint(
    subscription text, expected bigint, target bigint, fence bigint, resolved bigint[], letters jsonb, changes jsonb,
    OUT outcome int, OUT actual bigint, OUT highest bigint, OUT place int
) LANGUAGE plpgsql AS $$
DECLARE
    letter jsonb;
BEGIN
    SELECT position INTO STRICT highest FROM head FOR UPDATE;
    highest := greatest(highest, (SELECT max(position) FROM events));
    SELECT checkpoint INTO actual FROM subscriptions WHERE name = subscription;
    IF actual IS DISTINCT FROM expected OR target NOT BETWEEN coalesce(actual, 0) AND highest THEN
        outcome := 1;
        RETURN;
    END IF;
    IF fence IS NOT NULL AND NOT EXISTS (SELECT FROM leases WHERE token = fence) THEN
        outcome := 2;
        RETURN;
    END IF;
    BEGIN
        FOR n IN 1..cardinality(resolved) LOOP
            DELETE FROM dead_letters WHERE name = subscription AND position = resolved[n];
            IF NOT FOUND THEN
                outcome := 3;
                place := n;
                RAISE SQLSTATE 'RF001';
            END IF;
        END LOOP;
        FOR n IN 1..jsonb_array_length(letters) LOOP
            letter := letters->(n - 1);
            IF (letter->>9)::bigint = 0 AND NOT EXISTS (
                SELECT FROM dead_letters
                WHERE name = subscription AND stream = letter->>1 AND position < (letter->>0)::bigint
            ) THEN
                outcome := 4;
                place := n;
                RAISE SQLSTATE 'RF001';
            END IF;
            DELETE FROM dead_letters WHERE name = subscription AND position = (letter->>0)::bigint;
            INSERT INTO dead_letters VALUES (
                subscription, (letter->>0)::bigint, letter->>1, (letter->>2)::bigint, letter->>3, letter->>4,
                letter->>5, decode(letter->>6, 'hex'), letter->>7, letter->>8, (letter->>9)::bigint, letter->>10
            );
        END LOOP;
        PERFORM apply_changes(changes);
        INSERT INTO subscriptions VALUES (subscription, target)
        ON CONFLICT (name) DO UPDATE SET checkpoint = EXCLUDED.checkpoint;
        outcome := 0;
    EXCEPTION WHEN SQLSTATE 'RF001' THEN
        NULL;
    END;
END $$;
"""

# Who waits holds the shared lock (waiting.py). A commit that gets the lock alone has nobody to tell, and spares all
# databases of the server a notification, which lets one commit at a time. Who begins to wait meanwhile waits for that
# commit, and then sees it. Deferred to the commit: a long batch keeps nobody from beginning to wait.
_TELL: Final = """
CREATE FUNCTION tell_waiters() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(x'7265666f'::int, to_regnamespace(quote_ident(current_schema()))::oid::int) THEN
        PERFORM pg_notify('refold_' || to_regnamespace(quote_ident(current_schema()))::oid, '');
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER tell_waiters AFTER UPDATE ON head
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tell_waiters();
CREATE CONSTRAINT TRIGGER tell_waiters AFTER INSERT OR UPDATE ON subscriptions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tell_waiters();
"""

MIGRATIONS: Final = (
    _LOG + _APPEND_ONLY + _APPEND,
    _LEASES,
    _SUBSCRIPTIONS + _ADVANCE + _TELL,
    _COUNTED,
)
"""What is run in order; the number of a migration is its place, from 1."""

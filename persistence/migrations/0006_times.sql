-- What these do with a time zone is only stable (`extract` of a timestamptz, adding an interval to
-- one). Declared immutable, which promises more than that, PostgreSQL does not put them into the
-- statements that use them and calls them instead: 5 µs for each value, where 0.5 µs do.

CREATE OR REPLACE FUNCTION from_ms(ms bigint) RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN 'epoch'::timestamptz + ms * interval '1 millisecond';

CREATE OR REPLACE FUNCTION to_ms(at timestamptz) RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (extract(epoch FROM at) * 1000)::bigint;

-- There are {there} chips, {credited} were ever credited.
SELECT *
FROM (SELECT ((SELECT coalesce(sum(balance), 0) FROM wallets)
            + (SELECT coalesce(sum(chips), 0) FROM room_seats)
            + (SELECT coalesce(sum(pot), 0) FROM hands)
            + (SELECT coalesce(sum(amount), 0) FROM ledger_entries WHERE account = 'house'))::bigint
                 AS there,
             (SELECT -coalesce(sum(amount), 0) FROM ledger_entries WHERE account = 'bank')::bigint
                 AS credited) c
WHERE there <> credited

-- Transfer {transfer_id} ({kinds}) sums to {sum}.
SELECT transfer_id, string_agg(DISTINCT kind, ', ' ORDER BY kind) AS kinds, sum(amount)::bigint AS sum
FROM ledger_entries
GROUP BY transfer_id
HAVING sum(amount) <> 0
ORDER BY transfer_id

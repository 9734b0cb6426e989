-- The pot account of hand {hand_id} sums to {sum}.
SELECT hand_id, sum(amount)::bigint AS sum
FROM ledger_entries
WHERE account = 'pot'
GROUP BY hand_id
HAVING sum(amount) <> 0
ORDER BY hand_id

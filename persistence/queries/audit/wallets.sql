-- The wallet of {user_id} holds {balance}, its entries sum to {booked}.
SELECT user_id, balance, coalesce(booked, 0)::bigint AS booked
FROM wallets
FULL JOIN (SELECT user_id, sum(amount) AS booked FROM ledger_entries
           WHERE account = 'wallet' GROUP BY user_id) l USING (user_id)
WHERE balance IS DISTINCT FROM coalesce(booked, 0)
ORDER BY user_id

-- Hand {hand_id} has {actions} actions, numbered from {first} to {last}.
SELECT hand_id, count(*) AS actions, min(ordinal) AS first, max(ordinal) AS last
FROM actions
GROUP BY hand_id
HAVING min(ordinal) <> 0 OR max(ordinal) + 1 <> count(*)
ORDER BY hand_id

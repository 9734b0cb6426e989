-- The pot of finished hand {hand_id} still holds {pot}.
SELECT id AS hand_id, room_id, pot
FROM hands
WHERE ended_at IS NOT NULL AND pot <> 0
ORDER BY id

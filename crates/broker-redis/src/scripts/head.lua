-- Where a partition stands, and that this server would take a write: PERSIST changes nothing, and a replica refuses it.
--
-- Gives {epoch, counter}.
redis.call('PERSIST', KEYS[1])
return {epoch, counter}

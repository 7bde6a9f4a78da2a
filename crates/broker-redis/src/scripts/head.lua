-- Where a partition stands; makes its epoch if there is none.
--
-- KEYS  1 epoch  2 counter
-- ARGV  1 epoch if a new one is needed
-- Gives {epoch, offset}.
local place = redis.call('MGET', KEYS[1], KEYS[2])
if place[1] and place[2] then
  return {place[1], tonumber(place[2])}
end
redis.call('MSET', KEYS[1], ARGV[1], KEYS[2], '0')
return {ARGV[1], 0}

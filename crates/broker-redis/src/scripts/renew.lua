-- Begins another epoch if `ARGV[2]` is still the current one: Redis has fallen back to older data, and would give offsets
-- that nodes have seen already to other events. The counter goes on from where it is.
--
-- KEYS  1 epoch  2 counter
-- ARGV  1 the new epoch  2 the epoch to end
-- Gives {epoch, offset}.
local place = redis.call('MGET', KEYS[1], KEYS[2])
if not place[1] or not place[2] then
  redis.call('MSET', KEYS[1], ARGV[1], KEYS[2], '0')
  return {ARGV[1], 0}
end
if place[1] == ARGV[2] then
  redis.call('SET', KEYS[1], ARGV[1])
  return {ARGV[1], tonumber(place[2])}
end
return {place[1], tonumber(place[2])}

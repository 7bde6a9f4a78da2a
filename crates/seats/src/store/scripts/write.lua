-- Writes a change of a seat down and puts it into the outbox, if what was looked at is still so: the seat, and how many the user holds.
--
-- KEYS  1 the schedule's seats  2 the user's holds in it  3 the schedule's outbox  4 version  5 due holds  6 schedules that wait
--       7 schedules with a held or reserved seat
-- ARGV  1 seat  2 its version as seen  3 the user's holds as seen  4 when that was (ms)  5 the schedule  6 the change
--       7 its status  8 held until (ms)  9 how long the schedule is kept (ms)  10 changes that may wait
--       11 schedules that there may be
-- Gives the new version; false if something is no longer so; -1 if too many changes wait,
-- -2 if there are too many schedules.
local seat = redis.call('HGET', KEYS[1], ARGV[1])
local seen = seat and string.match(seat, '^%d+') or '0'
if seen ~= ARGV[2] or redis.call('ZCOUNT', KEYS[2], '(' .. ARGV[4], '+inf') ~= tonumber(ARGV[3]) then
  return false
end
if redis.call('LLEN', KEYS[3]) >= tonumber(ARGV[10]) then
  return -1
end
if ARGV[7] ~= 'AVAILABLE' and redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[7], '-inf', ARGV[4])
  if redis.call('ZCARD', KEYS[7]) >= tonumber(ARGV[11]) then
    return -2
  end
end

-- INCR comes first among the writes: it is the one that Redis refuses when memory is full or the server is read-only.
local version = redis.call('INCR', KEYS[4])
if version == 1 then
  -- The count begins at the time: a store that has lost its data does not count the same again.
  redis.call('SET', KEYS[4], ARGV[4])
  version = tonumber(ARGV[4])
end
version = string.format('%.0f', version)
local written = version .. ' ' .. ARGV[6]
redis.call('RPUSH', KEYS[3], written)
redis.call('SADD', KEYS[6], ARGV[5])

-- Names have no white space.
local place = ARGV[5] .. ' ' .. ARGV[1]
if ARGV[7] == 'AVAILABLE' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], written)
end
if redis.call('PEXPIRE', KEYS[1], ARGV[9]) == 1 then
  redis.call('ZADD', KEYS[7], string.format('%.0f', ARGV[4] + ARGV[9]), ARGV[5])
else
  redis.call('ZREM', KEYS[7], ARGV[5])
end
if ARGV[7] == 'HELD' then
  redis.call('ZADD', KEYS[5], ARGV[8], place)
  redis.call('ZADD', KEYS[2], ARGV[8], ARGV[1])
  redis.call('PEXPIREAT', KEYS[2], ARGV[8])
else
  redis.call('ZREM', KEYS[5], place)
  redis.call('ZREM', KEYS[2], ARGV[1])
end
return tonumber(version)

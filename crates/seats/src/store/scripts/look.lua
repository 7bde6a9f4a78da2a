-- What a decision about a seat depends on, and the time by the only clock that all nodes share.
--
-- KEYS  1 the schedule's seats  2 the user's holds in it
-- ARGV  1 seat
-- Gives {milliseconds since 1970, the seat as it was last written or false, the user's holds that are not over}.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
return {tonumber(now), redis.call('HGET', KEYS[1], ARGV[1]), redis.call('ZCOUNT', KEYS[2], '(' .. now, '+inf')}

-- What there is to do for whoever has time. Of those that wait, any: a schedule that can't be announced holds up no other for long.
--
-- KEYS  1 due holds  2 schedules that wait
-- ARGV  1 at most this many of each
-- Gives {places whose hold is over, schedules with something in their outbox}.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
return {
  redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1]),
  redis.call('SRANDMEMBER', KEYS[2], ARGV[1]),
}

-- Changes what is known of a user, or drops a topic's events, and tells the nodes that have the topic (of the user).
--
-- It takes a number, so that nodes find out when it is lost with a primary.
--
-- KEYS  4 the user's set of topics, the user's count of disconnects, or a topic's stream
-- ARGV  3 the message  4 channel  5 'SADD', 'SREM', 'COUNT' or 'DEL'  6 the topic, or the count's ttl (ms)
--       7 'SADD': how many topics the set may have
-- Gives {changed, nodes, epoch, number}; {-1, 0} if the set is full: then nothing is done.
local changed
if ARGV[5] == 'COUNT' then
  -- At least the time in microseconds: one that was lost (expired, evicted, not replicated) and
  -- begins again is above all before it.
  local time = redis.call('TIME')
  local count = tonumber(redis.call('GET', KEYS[4]) or '0') + 1
  changed = math.max(count, time[1] * 1000000 + time[2])
  redis.call('SET', KEYS[4], string.format('%.0f', changed), 'PX', ARGV[6])
elseif ARGV[5] == 'SADD' then
  if redis.call('SCARD', KEYS[4]) >= tonumber(ARGV[7]) and redis.call('SISMEMBER', KEYS[4], ARGV[6]) == 0 then
    return {-1, 0}
  end
  changed = redis.call('SADD', KEYS[4], ARGV[6])
elseif ARGV[5] == 'DEL' then
  changed = redis.call('DEL', KEYS[4])
else
  changed = redis.call(ARGV[5], KEYS[4], ARGV[6])
end
local nodes = redis.call('PUBLISH', ARGV[4], '1 ' .. epoch .. ' ' .. number() .. ' -\n' .. ARGV[3])
return {changed, nodes, epoch, counter}

-- Changes what is known of a user, or drops a topic's events, and tells the nodes that have the topic (of the user).
--
-- KEYS  1 epoch  2 counter  3 the user's set of topics, the user's count of disconnects, or a topic's stream
-- ARGV  1 epoch if a new one is needed  2 the message  3 channel  4 'SADD', 'SREM', 'COUNT' or 'DEL'
--       5 the topic, or the count's ttl (ms)  6 'SADD': how many topics the set may have
-- Gives {changed, nodes}; {-1, 0} if the set is full: then nothing is done.
local place = redis.call('MGET', KEYS[1], KEYS[2])
if not place[1] or not place[2] then
  redis.call('MSET', KEYS[1], ARGV[1], KEYS[2], '0')
  place = {ARGV[1], '0'}
end
local changed
if ARGV[4] == 'COUNT' then
  -- At least the time in microseconds: one that was lost (expired, evicted, not replicated) and
  -- begins again is above all before it.
  local time = redis.call('TIME')
  local count = tonumber(redis.call('GET', KEYS[3]) or '0') + 1
  changed = math.max(count, time[1] * 1000000 + time[2])
  redis.call('SET', KEYS[3], string.format('%.0f', changed), 'PX', ARGV[5])
elseif ARGV[4] == 'SADD' then
  if redis.call('SCARD', KEYS[3]) >= tonumber(ARGV[6]) and redis.call('SISMEMBER', KEYS[3], ARGV[5]) == 0 then
    return {-1, 0}
  end
  changed = redis.call('SADD', KEYS[3], ARGV[5])
elseif ARGV[4] == 'DEL' then
  changed = redis.call('DEL', KEYS[3])
else
  changed = redis.call(ARGV[4], KEYS[3], ARGV[5])
end
return {changed, redis.call('PUBLISH', ARGV[3], '1 ' .. place[1] .. ' ' .. place[2] .. ' -\n' .. ARGV[2])}

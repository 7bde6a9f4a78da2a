-- Changes what is known of a user and tells the nodes that hold streams of the user.
--
-- KEYS  1 epoch  2 counter  3 the user's set of topics, or the user's count of disconnects
-- ARGV  1 epoch if a new one is needed  2 the message  3 channel  4 'SADD', 'SREM' or 'INCR'  5 the topic, or the count's ttl (ms)
-- Gives {changed, nodes}.
local place = redis.call('MGET', KEYS[1], KEYS[2])
if not place[1] or not place[2] then
  redis.call('MSET', KEYS[1], ARGV[1], KEYS[2], '0')
  place = {ARGV[1], '0'}
end
local changed
if ARGV[4] == 'INCR' then
  changed = redis.call('INCR', KEYS[3])
  redis.call('PEXPIRE', KEYS[3], ARGV[5])
else
  changed = redis.call(ARGV[4], KEYS[3], ARGV[5])
end
return {changed, redis.call('PUBLISH', ARGV[3], '1 ' .. place[1] .. ' ' .. place[2] .. ' -\n' .. ARGV[2])}

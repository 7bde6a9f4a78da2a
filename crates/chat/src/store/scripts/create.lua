-- Makes a room, unless the pair has one.
--
-- ARGV  1 id  2 the pair, or ''  3 rooms of a user at most  4 users at most  5 count of participants  6… participants, then fields of the room
-- Gives {'new', id}, {'there', id} or {'full', user}.
local room, pair, count = ARGV[1], ARGV[2], tonumber(ARGV[5])
if pair ~= '' then
  local there = redis.call('GET', key('pair', pair))
  if there then
    return {'there', there}
  end
end
for at = 6, 5 + count do
  if redis.call('SCARD', key('rooms', ARGV[at])) >= tonumber(ARGV[3]) then
    return {'full', ARGV[at]}
  end
end
redis.call('HSET', key('room', room), unpack(ARGV, 6 + count))
for at = 6, 5 + count do
  redis.call('ZADD', key('people', room), at - 5, ARGV[at])
  redis.call('SADD', key('rooms', ARGV[at]), room)
  meet(ARGV[at], ARGV[4])
end
if pair ~= '' then
  redis.call('SET', key('pair', pair), room)
  redis.call('HSET', key('room', room), 'pair', pair)
end
return {'new', room}

-- Makes a room, unless the pair has one.
--
-- ARGV  1 id  2 the pair, or ''  3 its maker, or ''  4 rooms of a user at most
--       5 rooms made by a user at most  6 rooms at most  7 a room's time to live (ms)
--       8 users at most  9 a user's time to live (ms)  10 count of participants
--       11… participants, then fields of the room
-- Gives {'new', id}, {'there', id}, {'full', user}, {'made', user} or {'rooms', ''}.
local room, pair, maker = ARGV[1], ARGV[2], ARGV[3]
local ttl, count = tonumber(ARGV[7]), tonumber(ARGV[10])
if pair ~= '' then
  local there = redis.call('GET', key('pair', pair))
  if there and redis.call('EXISTS', key('room', there)) == 1 then
    return {'there', there}
  end
end
if maker ~= '' and full('made', maker, ARGV[5]) then
  return {'made', maker}
end
for at = 11, 10 + count do
  -- What others have put users into does not keep them from making rooms.
  if ARGV[at] ~= maker and full('rooms', ARGV[at], ARGV[4]) then
    return {'full', ARGV[at]}
  end
end
redis.call('ZREMRANGEBYSCORE', base .. ':index', '-inf', whole(now()))
if redis.call('ZCARD', base .. ':index') >= tonumber(ARGV[6]) then
  return {'rooms', ''}
end
redis.call('HSET', key('room', room), unpack(ARGV, 11 + count))
for at = 11, 10 + count do
  redis.call('ZADD', key('people', room), at - 10, ARGV[at])
  redis.call('SADD', key('rooms', ARGV[at]), room)
  meet(ARGV[at], ARGV[8], tonumber(ARGV[9]))
end
if pair ~= '' then
  redis.call('SET', key('pair', pair), room)
  redis.call('HSET', key('room', room), 'pair', pair)
end
live(room, ttl)
return {'new', room}

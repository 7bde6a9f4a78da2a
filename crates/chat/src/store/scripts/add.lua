-- Adds a participant, who has read everything up to here.
--
-- ARGV  1 room  2 user  3 participants at most  4 rooms of a user at most  5 users at most
--       6 a user's time to live (ms)  7 a room's time to live (ms)
-- Gives 1 if that changed anything, 0 if not, -1: no such room, -2: the room is full, -3: the user is.
local room, user = ARGV[1], ARGV[2]
if redis.call('EXISTS', key('room', room)) == 0 then
  return -1
end
if redis.call('ZSCORE', key('people', room), user) then
  return 0
end
if redis.call('ZCARD', key('people', room)) >= tonumber(ARGV[3]) then
  return -2
end
if full('rooms', user, ARGV[4]) then
  return -3
end
local last = redis.call('ZREVRANGE', key('people', room), 0, 0, 'WITHSCORES')
redis.call('ZADD', key('people', room), tonumber(last[2] or '0') + 1, user)
redis.call('SADD', key('rooms', user), room)
advance(room, user, newest(room))
meet(user, ARGV[5], tonumber(ARGV[6]))
live(room, tonumber(ARGV[7]))
return 1

-- Removes a participant.
--
-- ARGV  1 room  2 user
-- Gives 1 if that changed anything, 0 if not, -1: no such room.
local room, user = ARGV[1], ARGV[2]
if redis.call('EXISTS', key('room', room)) == 0 then
  return -1
end
redis.call('SREM', key('rooms', user), room)
redis.call('HDEL', key('marks', room), user)
return redis.call('ZREM', key('people', room), user)

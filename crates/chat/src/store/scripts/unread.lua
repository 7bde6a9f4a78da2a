-- Whether anything is unread in any of a user's rooms.
--
-- ARGV  1 user
for _, room in ipairs(redis.call('SMEMBERS', key('rooms', ARGV[1]))) do
  if redis.call('EXISTS', key('room', room)) == 1 and newest(room) > mark(room, ARGV[1]) then
    return 1
  end
end
return 0

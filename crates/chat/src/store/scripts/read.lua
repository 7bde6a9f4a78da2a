-- Sets a user's mark behind the room's newest message, or behind a place if that is further.
--
-- ARGV  1 room  2 user  3 epoch, or ''  4 offset  5 a room's time to live (ms)
-- Gives what is still unread, or nothing if the user takes no part.
local room, user, offset = ARGV[1], ARGV[2], tonumber(ARGV[4])
if not redis.call('ZSCORE', key('people', room), user) then
  return false
end
if ARGV[3] ~= '' then
  turn(room, ARGV[3])
end
advance(room, user, math.max(offset, newest(room)))
touch(room, tonumber(ARGV[5]))
return unread(room, user)

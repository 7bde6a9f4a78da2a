-- The user's rooms. Those whose time was over are in the list no longer.
--
-- ARGV  1 user
-- Gives their ids.
local set, result = key('rooms', ARGV[1]), {}
for _, room in ipairs(redis.call('SMEMBERS', set)) do
  if redis.call('EXISTS', key('room', room)) == 1 then
    result[#result + 1] = room
  else
    redis.call('SREM', set, room)
  end
end
return result

-- Forgets a room.
--
-- ARGV  1 room
-- Gives its readers, or nothing.
local room = ARGV[1]
if redis.call('EXISTS', key('room', room)) == 0 then
  return false
end
local result = readers(room)
for at = 1, #result, 2 do
  redis.call('SREM', key('rooms', result[at]), room)
end
local pair = redis.call('HGET', key('room', room), 'pair')
if pair then
  redis.call('DEL', key('pair', pair))
end
redis.call('DEL', key('room', room), key('people', room), key('marks', room), key('messages', room), key('words', room))
return result

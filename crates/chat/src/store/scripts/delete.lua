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
local about = redis.call('HMGET', key('room', room), 'pair', 'by')
if about[1] then
  redis.call('DEL', key('pair', about[1]))
end
if about[2] then
  redis.call('SREM', key('made', about[2]), room)
end
redis.call('ZREM', base .. ':index', room)
redis.call('DEL', key('room', room), key('people', room), key('marks', room), key('messages', room), key('words', room))
return result

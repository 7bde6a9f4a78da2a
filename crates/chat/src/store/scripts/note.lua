-- Remembers where a message is, and that its sender has read so far. Again: changes nothing.
--
-- ARGV  1 room  2 epoch  3 offset  4 message id  5 its sender  6 'messages' if it counts as unread, else 'words'  7 the message
--       8 places kept  9 for how long (ms)  10 a room's time to live (ms)
-- Gives {name, direct, relation, 1 if the sender had something unread, readers}, or nothing.
local room, offset, sender = ARGV[1], tonumber(ARGV[3]), ARGV[5]
local about = redis.call('HMGET', key('room', room), 'name', 'direct', 'relation')
if not about[1] then
  return false
end
turn(room, ARGV[2])
local takes_part = redis.call('ZSCORE', key('people', room), sender)
about[4] = takes_part and unread(room, sender) > 0 and 1 or 0
local index = key(ARGV[6], room)
if redis.call('ZADD', index, 'NX', ARGV[3], ARGV[4]) == 1 then
  redis.call('ZREMRANGEBYRANK', index, 0, -1 - tonumber(ARGV[8]))
  -- Like the topic's stream: all of it goes so long after the last one.
  redis.call('PEXPIRE', key('messages', room), ARGV[9])
  redis.call('PEXPIRE', key('words', room), ARGV[9])
end
if offset > tonumber(redis.call('HGET', key('room', room), 'last_offset') or '0') then
  redis.call('HSET', key('room', room), 'last', ARGV[7], 'last_offset', ARGV[3])
end
if takes_part then
  advance(room, sender, offset)
end
about[5] = readers(room)
touch(room, tonumber(ARGV[10]))
return about

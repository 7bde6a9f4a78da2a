-- The place of a message.
--
-- ARGV  1 room  2 message id
-- Gives {epoch, offset}, or nothing.
local room, id = ARGV[1], ARGV[2]
local offset = redis.call('ZSCORE', key('messages', room), id) or redis.call('ZSCORE', key('words', room), id)
local epoch = redis.call('HGET', key('room', room), 'epoch')
return offset and epoch and {epoch, tonumber(offset)}

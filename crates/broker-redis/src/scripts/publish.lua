-- Numbers an event, stores it and sends it to all nodes: all of it or, up to the first write that Redis refuses, nothing.
--
-- KEYS  1 epoch  2 counter  3 the topic's record  4 the topic's stream
--       5 idempotency, or the topic's version (optional)
-- ARGV  1 epoch if a new one is needed  2 the message  3 events kept (0: none)  4 stream ttl  5 record ttl  6 key ttl (all ms)  7 channel
--       8 the event's version (optional)
-- Gives {epoch, offset or false, nodes}; false if that version or a later one was sent already.
--
-- The record is read before anything is written, so that one of a wrong type is found in time. INCR comes first among the writes: it is
-- the one that Redis refuses when memory is full or the server is read-only. XADD is next, and refuses a stream of a wrong type. A number
-- that is then not used does no harm.
local known = KEYS[5] and redis.call('GET', KEYS[5])
if known and ARGV[8] then
  if tonumber(known) >= tonumber(ARGV[8]) then
    return false
  end
elseif known then
  local epoch, offset, nodes = string.match(known, '^(%w+) (%S+) (%d+)$')
  if epoch then
    return {epoch, tonumber(offset) or false, tonumber(nodes)}
  end
end

local place = redis.call('MGET', KEYS[1], KEYS[2])
local epoch, counter = place[1], place[2]
if not epoch or not counter then
  -- Either was lost: offsets could come again, so it is another life of the counter.
  epoch, counter = ARGV[1], '0'
  redis.call('MSET', KEYS[1], epoch, KEYS[2], counter)
end

local offset, envelope = false, nil
if ARGV[3] ~= '0' then
  local record = redis.call('HMGET', KEYS[3], 'e', 'l')
  -- As text: Lua would write large numbers as 1e+15. Doubles are exact as far as offsets go.
  offset = string.format('%.0f', redis.call('INCR', KEYS[2]))
  local prev = '0'
  if record[1] == epoch then
    prev = record[2]
  else
    redis.call('DEL', KEYS[4])
  end
  envelope = '1 ' .. epoch .. ' ' .. offset .. ' ' .. prev .. '\n' .. ARGV[2]
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[3], offset .. '-0', 'm', envelope)
  redis.call('HSET', KEYS[3], 'e', epoch, 'l', offset)
  redis.call('PEXPIRE', KEYS[4], ARGV[4])
  redis.call('PEXPIRE', KEYS[3], ARGV[5])
else
  envelope = '1 ' .. epoch .. ' ' .. counter .. ' -\n' .. ARGV[2]
  if KEYS[5] then
    -- Before sending: were it refused afterwards, an event sent would be reported as an error.
    redis.call('SET', KEYS[5], ARGV[8] or epoch .. ' - 0', 'PX', ARGV[6])
  end
end

local nodes = redis.call('PUBLISH', ARGV[7], envelope)
if KEYS[5] then
  local receipt = epoch .. ' ' .. (offset or '-') .. ' ' .. nodes
  redis.call('SET', KEYS[5], ARGV[8] or receipt, 'PX', ARGV[6])
end
return {epoch, offset and tonumber(offset), nodes}

-- Numbers an event, stores it and sends it to all nodes: all of it or, if Redis refuses any of it, nothing.
--
-- KEYS  4 the topic's record  5 the topic's stream  6 idempotency, or the topic's version (optional)
-- ARGV  3 the message  4 events kept (0: none; 'probe': all that an event needs, but a number)  5 stream ttl  6 record ttl  7 key ttl (all ms)  8 channel  9 the event's version (optional)
-- Gives {epoch, offset or false, nodes, '1' if it was published before}; false if that version or a later one was sent already.
local size, once, version = ARGV[4], KEYS[6], ARGV[9]
local known = once and redis.call('GET', once)
if known and version then
  if tonumber(known) >= tonumber(version) then
    return false
  end
elseif known then
  local of, at, nodes = string.match(known, '^(%w+) (%S+) (%d+)$')
  if of then
    return {of, tonumber(at) or false, tonumber(nodes), '1'}
  end
end
-- Before anything is written, so that a record of a wrong type is found in time.
local record = size ~= '0' and record_of(KEYS[4], KEYS[5])

local offset, nodes
local function store()
  local prev = '-'
  if size == 'probe' then
    -- Were it an event, its loss would be told to every stream.
    keep()
    redis.call('DEL', KEYS[5])
    redis.call('XADD', KEYS[5], 'MAXLEN', '~', '1', '1-0', 'm', ARGV[3])
  elseif record then
    offset = number()
    if of_this_life(record) then
      prev = record[2]
    else
      prev = '0'
      redis.call('DEL', KEYS[5])
    end
  else
    -- A replica would send it, too, but only to those who are connected to it.
    redis.call('PERSIST', KEYS[1])
  end
  local at = offset or string.format('%.0f', counter)
  local envelope = '1 ' .. epoch .. ' ' .. at .. ' ' .. prev .. '\n' .. ARGV[3]
  if offset then
    redis.call('XADD', KEYS[5], 'MAXLEN', '~', size, offset .. '-0', 'm', envelope)
  end
  if record then
    redis.call('PEXPIRE', KEYS[5], ARGV[5])
  end
  nodes = redis.call('PUBLISH', ARGV[8], envelope)
  if record then
    redis.call('HSET', KEYS[4], 'e', epoch, 'l', offset or '0', 'f', life)
    redis.call('PEXPIRE', KEYS[4], ARGV[6])
  end
end

if once then
  -- Were the key refused after the event was sent, each repetition would send it again.
  redis.call('SET', once, version or 'pending', 'PX', ARGV[7])
end
local stored, refusal = pcall(store)
if not stored then
  if offset then
    redis.pcall('XDEL', KEYS[5], offset .. '-0')
  end
  if once and known then
    redis.call('SET', once, known, 'PX', ARGV[7])
  elseif once then
    redis.call('DEL', once)
  end
  return type(refusal) == 'table' and refusal or redis.error_reply(tostring(refusal))
end
if once and not version then
  redis.call('SET', once, epoch .. ' ' .. (offset or '-') .. ' ' .. nodes, 'PX', ARGV[7])
end
return {epoch, offset and tonumber(offset) or false, nodes}

-- Before every script but enter.lua: what the partition's place is, and that the caller's node knows it.
--
-- KEYS  1 the place  2 epoch  3 counter, as gateways of the version before keep them
-- ARGV  1 the epoch that the caller's node has entered  2 '1': ask this server for its role and its reign, too
-- Ends with {'epoch'}, and nothing written, if the place or the server is another one: the node must enter first. A replica
-- refuses as it would refuse a write.
local place = redis.call('HMGET', KEYS[1], 'epoch', 'counter', 'life', 'reign', 'old')
local epoch, counter, life = place[1], tonumber(place[2]), place[3]
if not epoch or epoch ~= ARGV[1] then
  return {'epoch'}
end
if ARGV[2] == '1' then
  local info = redis.call('INFO', 'replication')
  -- A replica has its primary's reign, and may even take writes.
  if not string.find(info, 'role:master', 1, true) then
    return redis.error_reply('READONLY this server is a replica')
  end
  -- A connection can live through its server's demotion, another's reign and a second promotion.
  if string.match(info, 'master_replid:([^\r\n]+)') ~= place[4] then
    return {'epoch'}
  end
end
-- A gateway of the version before counts there, and knows nothing of the place.
local older = redis.call('MGET', KEYS[2], KEYS[3])
if older[1] and older[1] ~= epoch or older[2] and tonumber(older[2]) > counter and not place[5] then
  return {'epoch'}
end
counter = math.max(counter, tonumber(older[2] or '0'))

-- Whether a topic's record ('e', 'l', 'f') is of the place's life. Gateways of the version before write no 'f'.
local function of_this_life(record)
  return record[3] == life or record[1] == epoch or record[1] == life
end

-- A topic's record. One that Redis has evicted is made up from the topic's stream: its last entry says as much.
local function record_of(key, stream)
  local record = redis.call('HMGET', key, 'e', 'l', 'f')
  local last = not record[1] and redis.call('XREVRANGE', stream, '+', '-', 'COUNT', '1')[1]
  local of, offset = string.match(last and last[2][2] or '', '^%S+ (%w+) (%d+)')
  if not of then
    return record
  end
  -- Epochs of another life stand in the line without a reign.
  local line = ' ' .. (redis.call('HGET', KEYS[1], 'line') or '')
  local ended = string.match(line, ' ' .. of .. ':([^:]+)') or '-'
  return {of, offset, (of == epoch or ended ~= '-') and life}
end

-- Keeps how far the partition has counted. As text: Lua would write large numbers as 1e+15. Doubles are exact as far as offsets go.
local function keep()
  local text = string.format('%.0f', counter)
  redis.call('HSET', KEYS[1], 'counter', text)
  redis.call('MSET', KEYS[2], epoch, KEYS[3], text)
  return text
end

-- The next number.
local function number()
  counter = counter + 1
  return keep()
end

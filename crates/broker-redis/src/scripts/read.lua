-- The end of a topic's history, or what comes before an offset, newest first; and where its
-- partition stood at that instant.
--
-- KEYS  1 epoch  2 counter  3 the topic's record  4 the topic's stream
-- ARGV  1 epoch if a new one is needed  2 the id to begin at, or '+'  3 events at most
--       4 bytes at most (one event always fits)
-- Gives {epoch, offset, envelopes, 1 if there are more}.
local place = redis.call('MGET', KEYS[1], KEYS[2])
if not place[1] or not place[2] then
  redis.call('MSET', KEYS[1], ARGV[1], KEYS[2], '0')
  place = {ARGV[1], '0'}
end
local result, more = {}, 0
if redis.call('HGET', KEYS[3], 'e') ~= place[1] then
  -- What the stream may hold is of an earlier life.
  return {place[1], tonumber(place[2]), result, more}
end

local first, limit, room = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
-- In steps that follow the sizes seen, so that large events are not copied to be left out.
local bytes, step = 0, 2
repeat
  local entries = redis.call('XREVRANGE', KEYS[4], first, '-', 'COUNT', step)
  for _, entry in ipairs(entries) do
    local envelope = entry[2][2]
    if #result == limit or (#result > 0 and bytes + #envelope > room) then
      more = 1
      break
    end
    result[#result + 1] = envelope
    bytes = bytes + #envelope
    first = '(' .. entry[1]
  end
  local over = more == 1 or #entries < step
  -- One more than fits shows that there are more.
  step = math.max(1, math.min(256, limit + 1 - #result, math.floor((room - bytes) * #result / math.max(1, bytes)) + 1))
until over
return {place[1], tonumber(place[2]), result, more}

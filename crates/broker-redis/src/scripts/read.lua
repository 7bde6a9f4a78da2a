-- The end of a topic's history, or what comes before an offset, newest first; and where its
-- partition stood at that instant.
--
-- KEYS  4 the topic's record  5 the topic's stream
-- ARGV  3 the id to begin at, or '+'  4 events at most  5 bytes at most (one event always fits)
-- Gives {epoch, offset, envelopes, 1 if there are more}.
local result, more = {}, 0
if not of_this_life(record_of(KEYS[4], KEYS[5])) then
  -- What the stream may hold is of an earlier one.
  return {epoch, counter, result, more}
end

local first, limit, room = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
-- In steps that follow the sizes seen, so that large events are not copied to be left out.
local bytes, step = 0, 2
repeat
  local entries = redis.call('XREVRANGE', KEYS[5], first, '-', 'COUNT', step)
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
return {epoch, counter, result, more}

-- A part of a topic's history, and where its partition stood at that instant.
--
-- KEYS  4 the topic's record  5 the topic's stream
-- ARGV  3 'up' or 'down'  4 first id  5 last id  6 events at most  7 bytes at most (one event always fits)
-- Gives {epoch, offset, the topic's last offset (0: none), envelopes in the direction of reading, 1 if there are more}.
local record = redis.call('HMGET', KEYS[4], 'e', 'l', 'f')
local result, more, last = {}, 0, tonumber(record[2] or '0')
if record[3] ~= life and record[1] ~= epoch and record[1] ~= life then
  -- What the stream may hold is of another life. What the record knows may have been of this one: then it is lost.
  return {epoch, counter, last <= counter and last or 0, result, more}
end

local command = ARGV[3] == 'up' and 'XRANGE' or 'XREVRANGE'
local from, to, limit, room = ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
-- In steps, so that a history of large events is not copied in whole to give a part of it.
local step = 64
repeat
  local entries = redis.call(command, KEYS[5], from, to, 'COUNT', step)
  for _, entry in ipairs(entries) do
    local envelope = entry[2][2]
    room = room - #envelope
    if #result == limit or (room < 0 and #result > 0) then
      more = 1
      break
    end
    result[#result + 1] = envelope
    from = '(' .. entry[1]
  end
until more == 1 or #entries < step
return {epoch, counter, last, result, more}

-- A part of a topic's history, and where its partition stood at that instant.
--
-- KEYS  1 epoch  2 counter  3 the topic's record  4 the topic's stream
-- ARGV  1 epoch if a new one is needed  2 'up' or 'down'  3 first id  4 last id  5 events at most  6 bytes at most (one event always fits)
-- Gives {epoch, offset, the topic's last offset (0: none), envelopes in the direction of reading, 1 if there are more}.
local place = redis.call('MGET', KEYS[1], KEYS[2])
if not place[1] or not place[2] then
  redis.call('MSET', KEYS[1], ARGV[1], KEYS[2], '0')
  place = {ARGV[1], '0'}
end
local record = redis.call('HMGET', KEYS[3], 'e', 'l')
local result, more = {}, 0
if record[1] ~= place[1] then
  -- What the stream may hold is of an earlier life.
  return {place[1], tonumber(place[2]), 0, result, more}
end

local command = ARGV[2] == 'up' and 'XRANGE' or 'XREVRANGE'
local from, to, limit, room = ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
-- In steps, so that a history of large events is not copied in whole to give a part of it.
local step = 64
repeat
  local entries = redis.call(command, KEYS[4], from, to, 'COUNT', step)
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
return {place[1], tonumber(place[2]), tonumber(record[2]), result, more}

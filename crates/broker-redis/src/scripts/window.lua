-- The stored events of several topics of a partition, each after an offset: in the order of their
-- offsets, as many as fit; and where the partition stood at that instant.
--
-- KEYS  1 epoch  2 counter  3 and on: of each topic its record and its stream
-- ARGV  1 epoch if a new one is needed  2 events at most  3 bytes at most (one event always fits)
--       4 last offset, or '+'  5 and on: of each topic the offset to read after
-- Gives {epoch, offset, the offset up to which nothing is left out, {of each topic its last offset
-- (0: none), and the offset before its first event after the given one (-1: there is none)}, number
-- of a topic, envelope, number, …}.
local place = redis.call('MGET', KEYS[1], KEYS[2])
if not place[1] or not place[2] then
  redis.call('MSET', KEYS[1], ARGV[1], KEYS[2], '0')
  place = {ARGV[1], '0'}
end
local limit, room = tonumber(ARGV[2]), tonumber(ARGV[3])
local upto = tonumber(ARGV[4] == '+' and place[2] or ARGV[4])
local events, bytes, copied, count = {}, 0, 0, 0

-- Lets the last ones go until the others fit. What is read after that ends where they end.
local function fit()
  table.sort(events, function(a, b) return a.offset < b.offset end)
  local all = #events
  while #events > 1 and (bytes > room or #events > limit) do
    bytes = bytes - #events[#events].envelope
    events[#events] = nil
  end
  if #events < all then
    upto = events[#events].offset
  end
end

local function prev_of(entry)
  return entry and (tonumber(string.match(entry[2][2], '^%S+ %S+ %S+ (%d+)')) or 0) or -1
end

-- Takes a topic's events, and gives the offset before the first. In steps that follow the sizes
-- seen, so that large events are not copied to be left out.
local function take(number, stream, first)
  local prev
  repeat
    local step = count == 0 and 2 or math.max(1, math.min(256, limit, math.floor(room * count / copied)))
    local entries = redis.call('XRANGE', stream, first, string.format('%.0f-0', upto), 'COUNT', step)
    for _, entry in ipairs(entries) do
      local envelope = entry[2][2]
      prev = prev or prev_of(entry)
      events[#events + 1] = {offset = tonumber(string.match(entry[1], '^%d+')), number = number, envelope = envelope}
      bytes, copied, count = bytes + #envelope, copied + #envelope, count + 1
      first = '(' .. entry[1]
    end
    if bytes > 2 * room or #events > 2 * limit then
      fit()
    end
  until #entries < step
  -- Whether events were trimmed shows now: the reader goes on from `upto`, which may lie after them.
  return prev or prev_of(redis.call('XRANGE', stream, first, '+', 'COUNT', 1)[1])
end

local topics = {}
for number = 0, (#KEYS - 2) / 2 - 1 do
  local record = redis.call('HMGET', KEYS[3 + 2 * number], 'e', 'l')
  -- What a stream without a record of this life may hold is of an earlier one.
  local last = record[1] == place[1] and tonumber(record[2]) or 0
  local from = tonumber(ARGV[5 + number])
  topics[#topics + 1] = last
  topics[#topics + 1] = last > from and take(number, KEYS[4 + 2 * number], ARGV[5 + number] .. '-1') or -1
end
fit()

local result = {place[1], tonumber(place[2]), upto, topics}
for _, event in ipairs(events) do
  result[#result + 1] = event.number
  result[#result + 1] = event.envelope
end
return result

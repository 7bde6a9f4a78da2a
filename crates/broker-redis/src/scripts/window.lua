-- The stored events of several topics after an offset, in the order of their offsets: as many as
-- fit into some bytes.
--
-- KEYS  4 and on: the topics' streams, all of the partition's life
-- ARGV  3 the offset  4 last offset  5 bytes at most (one event always fits)
-- Gives {the offset up to which nothing is left out, number of a stream, envelope, number, …}.
local from, upto, room = ARGV[3] .. '-1', tonumber(ARGV[4]), tonumber(ARGV[5])
local events, bytes = {}, 0

-- Lets the last ones go until the others fit. What is read after that ends where they end.
local function fit()
  table.sort(events, function(a, b) return a.offset < b.offset end)
  local count = #events
  while bytes > room and #events > 1 do
    bytes = bytes - #events[#events].envelope
    events[#events] = nil
  end
  if #events < count then
    upto = events[#events].offset
  end
end

-- In steps, and never much more in memory than what is given.
local step = 64
for number = 4, #KEYS do
  local first = from
  repeat
    local entries = redis.call('XRANGE', KEYS[number], first, string.format('%.0f-0', upto), 'COUNT', step)
    for _, entry in ipairs(entries) do
      local envelope = entry[2][2]
      events[#events + 1] = {offset = tonumber(string.match(entry[1], '^%d+')), number = number - 4, envelope = envelope}
      bytes = bytes + #envelope
      first = '(' .. entry[1]
    end
    if bytes > 2 * room then
      fit()
    end
  until #entries < step
end
fit()

local result = {upto}
for _, event in ipairs(events) do
  result[#result + 1] = event.number
  result[#result + 1] = event.envelope
end
return result

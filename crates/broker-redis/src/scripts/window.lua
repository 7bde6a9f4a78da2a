-- The stored events of several topics of a partition, each after an offset: in the order of their
-- offsets, as many as fit; and where the partition stood at that instant.
--
-- KEYS  4 and on: of each topic its record and its stream
-- ARGV  3 events at most  4 bytes at most (one event always fits)
--       5 last offset, or '+'  6 and on: of each topic the offset to read after
-- Gives {epoch, offset, the offset up to which nothing is left out, {of each topic its last offset
-- (0: none), and the offset before its first event after the given one (-1: there is none)}, number
-- of a topic, envelope, number, …}.
local limit, room = tonumber(ARGV[3]), tonumber(ARGV[4])
local upto = ARGV[5] == '+' and counter or tonumber(ARGV[5])
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

local topics, open = {}, {}
for number = 0, (#KEYS - 3) / 2 - 1 do
  local record, from = record_of(KEYS[4 + 2 * number], KEYS[5 + 2 * number]), ARGV[6 + number]
  local last, ours = tonumber(record[2] or '0'), of_this_life(record)
  -- What a stream without a record of this life may hold is of an earlier one. What the record knows
  -- may have been of this one, and was lost.
  topics[2 * number + 1] = (ours or last <= counter) and last or 0
  topics[2 * number + 2] = -1
  if ours and last > tonumber(from) then
    open[#open + 1] = {number = number, stream = KEYS[5 + 2 * number], first = from .. '-1', at = 0}
  end
end

-- Takes a topic's next events: few enough that all open topics together bring what is wanted, by
-- the sizes seen so far. So little is copied to be left out. False: it has no more up to `upto`.
local function take(topic)
  local wanted = count > 0 and math.min(limit, room * count / copied) or 1
  local step = math.max(1, math.floor(wanted / #open))
  local entries = redis.call('XRANGE', topic.stream, topic.first, '+', 'COUNT', step)
  for _, entry in ipairs(entries) do
    local envelope = entry[2][2]
    copied, count = copied + #envelope, count + 1
    if topic.at == 0 then
      -- Whether events were trimmed must show now, even if the first one is too late for this
      -- window: the reader goes on from `upto`, which may lie after those trimmed.
      topics[2 * topic.number + 2] = tonumber(string.match(envelope, '^%S+ %S+ %S+ (%d+)')) or 0
    end
    topic.first, topic.at = '(' .. entry[1], tonumber(string.match(entry[1], '^%d+'))
    if topic.at > upto then
      return false
    end
    events[#events + 1] = {offset = topic.at, number = topic.number, envelope = envelope}
    bytes = bytes + #envelope
  end
  if bytes > 2 * room or #events > 2 * limit then
    fit()
  end
  return #entries == step
end

-- Once from each, then on where the least is known, until all that is known reaches to `upto`.
local rest = {}
for _, topic in ipairs(open) do
  if take(topic) then
    rest[#rest + 1] = topic
  end
end
open = rest
while #open > 0 do
  local lowest = 1
  for at = 2, #open do
    if open[at].at < open[lowest].at then
      lowest = at
    end
  end
  if open[lowest].at >= upto then
    break
  end
  if not take(open[lowest]) then
    table.remove(open, lowest)
  end
end
fit()

local result = {epoch, counter, upto, topics}
for _, event in ipairs(events) do
  result[#result + 1] = event.number
  result[#result + 1] = event.envelope
end
return result

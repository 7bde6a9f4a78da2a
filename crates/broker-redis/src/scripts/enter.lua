-- A node enters a partition: it learns where the partition stands, tells what it has seen of it, and begins another epoch where
-- that is due. An epoch belongs to one reign of one primary; after a loss a reign goes on with another epoch. The counter never
-- jumps and, on one line of epochs, never falls.
--
-- KEYS  1 the place  2 epoch  3 counter, as gateways of the version before keep them
-- ARGV  1 name for a new epoch  2 name for a new life  3 how many partitions there are  4 '1': the node is sure that this is the primary
--       5 the epoch that the node has entered before, or ''  6 and on: the node's evidence: epoch, the highest offset seen, epoch, …
-- Gives {epoch, counter, begin, life, line, '1' if a gateway of the version before has written in this epoch,
-- what this call began: '', 'clean', 'lossy' or 'new'}, or {'unknown'}: this server knows less than the node, which must look again
-- where the primary is; {'refused'}: a server from further up the line is back; {'partitions', how many it was}.
--
-- The line has the ended epochs, each `epoch:reign:end:told:clean|lossy`, the oldest first. What nodes have seen of an epoch that is
-- not of this line stands in it as `epoch:-:-1:told:lossy`.
local LINE = 32
local info = redis.pcall('INFO', 'replication')
if type(info) == 'table' then
  return redis.error_reply('NOPERM this user has no permissions to run the \'info\' command: it needs +info')
end
if not string.find(info, 'role:master', 1, true) then
  -- It has its primary's reign, and may even take writes.
  return redis.error_reply('READONLY this server is a replica')
end
local reign = string.match(info, 'master_replid:([^\r\n]+)')
if not reign then
  return redis.error_reply('ERR this server does not say its master_replid')
end
local place = redis.call('HMGET', KEYS[1], 'epoch', 'counter', 'begin', 'life', 'reign', 'line', 'old', 'of')
local older = redis.call('MGET', KEYS[2], KEYS[3])
if place[8] and place[8] ~= ARGV[3] then
  return {'partitions', place[8]}
end

local line, known = {}, {}
for epoch, of, last, told, how in string.gmatch(place[6] or '', '(%w+):([^:]+):(-?%d+):(-?%d+):(%a+)') do
  line[#line + 1] = {epoch = epoch, reign = of, last = tonumber(last), told = tonumber(told), how = how}
  known[epoch] = line[#line]
end
local epoch, counter, begin, life, old = place[1], tonumber(place[2] or '0'), place[3], place[4], place[7]
local changed, began = false, ''

local evidence = {}
for at = 6, #ARGV, 2 do
  evidence[#evidence + 1] = {epoch = ARGV[at], offset = tonumber(ARGV[at + 1])}
end
local function tell(of, offset)
  line[#line + 1] = {epoch = of, reign = '-', last = -1, told = offset, how = 'lossy'}
  known[of] = line[#line]
end
local function text(value)
  return string.format('%.0f', value)
end

if not epoch and older[1] and older[2] then
  -- From gateways of the version before.
  epoch, counter, begin, life, old, place[5] = older[1], tonumber(older[2]), '0', older[1], '1', reign
  changed = true
end
if ARGV[4] ~= '1' then
  local function foreign(of)
    return of ~= '' and of ~= epoch and not known[of]
  end
  local unknown = foreign(ARGV[5])
  for _, seen in ipairs(evidence) do
    unknown = unknown or foreign(seen.epoch)
  end
  if unknown then
    return {'unknown'}
  end
end

if not epoch then
  epoch, counter, begin, life, began = ARGV[1], 0, '0', ARGV[2], 'new'
  for _, seen in ipairs(evidence) do
    tell(seen.epoch, seen.offset)
  end
else
  if reign ~= place[5] then
    for _, ended in ipairs(line) do
      if ended.reign == reign then
        return {'refused'}
      end
    end
  end
  if older[2] and tonumber(older[2]) > counter then
    counter, old, changed = tonumber(older[2]), '1', true
  end
  local lost, told = false, -1
  for _, seen in ipairs(evidence) do
    local ended = known[seen.epoch]
    if seen.epoch == epoch then
      if seen.offset > counter then
        lost, told = true, seen.offset
      end
    elseif not ended then
      lost = true
      tell(seen.epoch, seen.offset)
    elseif seen.offset > math.max(ended.last, ended.told) then
      lost = true
      ended.told = seen.offset
    end
  end
  if older[1] and older[1] ~= epoch then
    -- A gateway of the version before has begun an epoch of its own.
    lost = true
    if not known[older[1]] then
      tell(older[1], tonumber(older[2] or '0'))
    end
  end
  if lost or reign ~= place[5] then
    -- Such a gateway drops what a topic has kept of earlier epochs: nothing from before goes on.
    began = (lost or old) and 'lossy' or 'clean'
    line[#line + 1] = {epoch = epoch, reign = place[5], last = counter, told = told, how = began}
    epoch, begin, old = ARGV[1], text(counter), false
  end
end

if changed or began ~= '' then
  local words = {}
  for at = math.max(1, #line - LINE + 1), #line do
    local ended = line[at]
    words[#words + 1] = table.concat({ended.epoch, ended.reign, text(ended.last), text(ended.told), ended.how}, ':')
  end
  place[6] = table.concat(words, ' ')
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'counter', text(counter), 'begin', begin, 'life', life, 'reign', reign, 'line', place[6], 'of', ARGV[3])
  if old then
    redis.call('HSET', KEYS[1], 'old', '1')
  else
    redis.call('HDEL', KEYS[1], 'old')
  end
  redis.call('MSET', KEYS[2], epoch, KEYS[3], text(counter))
end
return {epoch, counter, tonumber(begin), life, place[6] or '', old or '', began}

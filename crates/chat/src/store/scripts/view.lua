-- A room as a user sees it.
--
-- ARGV  1 room  2 user, or ''
-- Gives {name, direct, relation, created, by, last message, unread, participants}, or nothing.
local room, user = ARGV[1], ARGV[2]
local fields = redis.call('HMGET', key('room', room), 'name', 'direct', 'relation', 'created', 'by', 'last')
if not fields[1] then
  return false
end
local count = 0
if user ~= '' and redis.call('ZSCORE', key('people', room), user) then
  count = unread(room, user)
end
fields[7] = count
fields[8] = redis.call('ZRANGE', key('people', room), 0, -1)
return fields

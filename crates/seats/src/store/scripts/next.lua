-- Takes what has been announced out of the outbox, and gives what is then its first.
--
-- KEYS  1 the schedule's outbox  2 schedules that wait
-- ARGV  1 the schedule  2 the version up to which all has been announced
-- Gives the change, or false.
local head = redis.call('LINDEX', KEYS[1], 0)
while head and tonumber(string.match(head, '^%d+')) <= tonumber(ARGV[2]) do
  redis.call('LPOP', KEYS[1])
  head = redis.call('LINDEX', KEYS[1], 0)
end
if not head then
  redis.call('SREM', KEYS[2], ARGV[1])
end
return head

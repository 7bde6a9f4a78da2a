-- Says who a user is, or remembers one of whom nothing is known.
--
-- ARGV  1 user  2 what is known, or ''  3 users at most  4 a user's time to live (ms)
-- Gives 1, or 0 if there are as many users as there may be.
if not meet(ARGV[1], ARGV[3], tonumber(ARGV[4])) then
  return 0
end
if ARGV[2] ~= '' then
  redis.call('HSET', base .. ':users', ARGV[1], ARGV[2])
end
return 1

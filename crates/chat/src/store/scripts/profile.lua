-- Says who a user is, or remembers one of whom nothing is known.
--
-- ARGV  1 user  2 what is known, or ''  3 users at most
-- Gives 1, or 0 if there are as many users as there may be.
local user = ARGV[1]
if redis.call('HEXISTS', base .. ':users', user) == 0 then
  if redis.call('HLEN', base .. ':users') >= tonumber(ARGV[3]) then
    return 0
  end
  redis.call('HSET', base .. ':users', user, ARGV[2])
elseif ARGV[2] ~= '' then
  redis.call('HSET', base .. ':users', user, ARGV[2])
end
return 1

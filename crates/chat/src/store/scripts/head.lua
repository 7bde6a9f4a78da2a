-- What the scripts have in common. KEYS[1] is what all keys begin with: see the table in redis.rs.
local base = KEYS[1]

local function key(kind, name)
  return base .. ':' .. kind .. ':' .. name
end

-- The offset of a room's newest message that counts; 0: none.
local function newest(room)
  local last = redis.call('ZREVRANGE', key('messages', room), 0, 0, 'WITHSCORES')
  return tonumber(last[2] or '0')
end

-- Another life of the counter: what was numbered in the former one is worth nothing.
local function turn(room, epoch)
  local known = redis.call('HGET', key('room', room), 'epoch')
  if known ~= epoch then
    if known then
      redis.call('DEL', key('messages', room), key('words', room), key('marks', room))
      redis.call('HSET', key('room', room), 'last_offset', '0')
    end
    redis.call('HSET', key('room', room), 'epoch', epoch)
  end
end

-- How far a user has read.
local function mark(room, user)
  return tonumber(redis.call('HGET', key('marks', room), user) or '0')
end

-- Moves a user's mark forwards. As text: Lua would write large numbers as 1e+15.
local function advance(room, user, offset)
  if offset > mark(room, user) then
    redis.call('HSET', key('marks', room), user, string.format('%.0f', offset))
  end
end

-- Messages that a user has not read.
local function unread(room, user)
  return redis.call('ZCOUNT', key('messages', room), '(' .. string.format('%.0f', mark(room, user)), '+inf')
end

-- {user, 1 if something is unread, …} of all participants.
local function readers(room)
  local last, result = newest(room), {}
  local users = redis.call('ZRANGE', key('people', room), 0, -1)
  for _, user in ipairs(users) do
    result[#result + 1] = user
    result[#result + 1] = last > mark(room, user) and 1 or 0
  end
  return result
end

-- Milliseconds since 1970, by the only clock that all nodes share.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- As text: Lua would write large numbers as 1e+15.
local function whole(number)
  return string.format('%.0f', number)
end

-- Lets a list live for at least `ttl`: other rooms in it may have longer to live.
local function extend(list, ttl)
  if redis.call('PTTL', list) < ttl then
    redis.call('PEXPIRE', list, whole(ttl))
  end
end

-- Begins a room's time to live again, with all that belongs to it and points to it.
local function live(room, ttl)
  redis.call('HSET', key('room', room), 'touched', whole(now()))
  for _, kind in ipairs({'room', 'people', 'marks'}) do
    redis.call('PEXPIRE', key(kind, room), whole(ttl))
  end
  for _, user in ipairs(redis.call('ZRANGE', key('people', room), 0, -1)) do
    extend(key('rooms', user), ttl)
  end
  local about = redis.call('HMGET', key('room', room), 'pair', 'by')
  if about[1] then
    redis.call('PEXPIRE', key('pair', about[1]), whole(ttl))
  end
  if about[2] then
    -- Not there yet for a room that an earlier version has written.
    redis.call('SADD', key('made', about[2]), room)
    extend(key('made', about[2]), ttl)
  end
  redis.call('ZADD', base .. ':index', whole(now() + ttl), room)
end

-- The room is used. Its time does not begin again at every use: that costs a step for each
-- participant.
local function touch(room, ttl)
  local touched = redis.call('HGET', key('room', room), 'touched')
  if now() - tonumber(touched or '0') >= ttl / 100 then
    live(room, ttl)
  elseif redis.call('TTL', key('marks', room)) == -1 then
    redis.call('PEXPIRE', key('marks', room), whole(ttl))
  end
end

-- Whether a user's set of rooms (those taken part in, or those made) is full. Drops rooms from it
-- whose time is over.
local function full(kind, user, most)
  local set = key(kind, user)
  if redis.call('SCARD', set) < tonumber(most) then
    return false
  end
  for _, room in ipairs(redis.call('SMEMBERS', set)) do
    if redis.call('EXISTS', key('room', room)) == 0 then
      redis.call('SREM', set, room)
    end
  end
  return redis.call('SCARD', set) >= tonumber(most)
end

-- Remembers a user, if there is room. Gives whether the user is known then. Forgets users that were
-- not seen for `ttl`.
local function meet(user, most, ttl)
  local users, seen, time = base .. ':users', base .. ':seen', now()
  if redis.call('HLEN', users) ~= redis.call('ZCARD', seen) then
    -- Written before users had an age.
    for _, known in ipairs(redis.call('HKEYS', users)) do
      redis.call('ZADD', seen, 'NX', whole(time), known)
    end
  end
  local before = whole(time - ttl)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', before, 'LIMIT', 0, 100)) do
    redis.call('HDEL', users, old)
    redis.call('ZREM', seen, old)
  end
  if redis.call('HEXISTS', users, user) == 0 then
    if redis.call('HLEN', users) >= tonumber(most) then
      return false
    end
    redis.call('HSET', users, user, '')
  end
  redis.call('ZADD', seen, whole(time), user)
  return true
end

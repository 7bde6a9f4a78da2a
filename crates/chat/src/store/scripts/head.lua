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

-- Remembers a user, if there is room.
local function meet(user, most)
  if redis.call('HLEN', base .. ':users') < tonumber(most) then
    redis.call('HSETNX', base .. ':users', user, '')
  end
end

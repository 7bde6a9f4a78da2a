-- Who takes part in a room, and whether each has something unread.
--
-- ARGV  1 room
-- Gives {user, 1 if something is unread, …}, or nothing.
return redis.call('EXISTS', key('room', ARGV[1])) == 1 and readers(ARGV[1])

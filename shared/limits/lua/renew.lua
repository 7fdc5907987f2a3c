-- Extend the slots of running tasks, one key per task. A running task counts even if its lease had lapsed.

local now = clock(ARGV[1])
local until_us = int(now + tonumber(ARGV[2]))
for n, slots in ipairs(KEYS) do
  redis.call('ZADD', slots, until_us, ARGV[2 + n])
  keep_slots(slots, now)
end
return #KEYS

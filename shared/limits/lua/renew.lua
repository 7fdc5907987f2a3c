-- Extend the slots of running tasks: KEYS are one key of slots per task, then one mark per task that says it was
-- settled. A running task counts even if its lease had lapsed; one that was settled a moment ago does not run.

local now = clock(ARGV[1])
local until_us = int(now + tonumber(ARGV[2]))
local tasks = #KEYS / 2
for n = 1, tasks do
  if redis.call('EXISTS', KEYS[tasks + n]) == 0 then
    redis.call('ZADD', KEYS[n], until_us, ARGV[2 + n])
    keep_slots(KEYS[n], now)
  end
end
return tasks

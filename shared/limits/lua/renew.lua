-- Extend the slots of running tasks: KEYS are one key of slots per task, then one mark per task that says it was
-- settled, then the lanes. A running task counts even if its lease had lapsed; one that was settled a moment ago does not
-- run. ARGV: now, for how long, the number of tasks, the tasks.

local now = clock(ARGV[1])
local until_us = int(now + tonumber(ARGV[2]))
local tasks = tonumber(ARGV[3])
local lanes = lanes_of(KEYS, 2 * tasks + 1)
for n = 1, tasks do
  local task = ARGV[3 + n]
  if redis.call('EXISTS', KEYS[tasks + n]) == 0 then
    redis.call('ZADD', KEYS[n], until_us, task)
    keep_slots(KEYS[n], now)
    local lane, owner = string.match(redis.call('HGET', lanes.where, task) or '', '^r (%a+) (%S+)$')
    if lane then
      redis.call('ZADD', lanes.running[lane], until_us, owner .. ' ' .. task)
      redis.call('HDEL', lanes.where, '@' .. task) -- it is claimed, though nobody could say so then
    end
  end
end
return tasks

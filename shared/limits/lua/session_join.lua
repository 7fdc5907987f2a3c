-- Put a task at the end of its session's line. Reply: the task in front of it if that one is still open, else ''.
-- A repeat after a lost reply finds itself at the end and gets the same answer.

local entries, line = unpack(KEYS)
local task, first, keep_s = ARGV[1], ARGV[2], ARGV[3]

local newest = redis.call('HGET', line, 'task')
local before
if newest == task then
  before = redis.call('HGET', line, 'before')
else
  before = newest or first
  redis.call('HSET', line, 'task', task, 'before', before)
end
redis.call('EXPIRE', line, keep_s)
if before ~= '' and redis.call('HEXISTS', entries, before) == 1 then
  return before
end
return ''

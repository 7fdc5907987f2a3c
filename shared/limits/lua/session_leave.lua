-- Take a task, which could not be written, from the end of its session's line. A repeat changes nothing.
-- The line remembers one task before the last; behind that, the task itself knows which open one it stood behind.

local line = KEYS[1]
local task, after = ARGV[1], ARGV[2]

if redis.call('HGET', line, 'task') == task then
  local before = redis.call('HGET', line, 'before')
  if before == '' then
    before = after
  end
  if before == '' then
    redis.call('DEL', line)
  else
    redis.call('HSET', line, 'task', before, 'before', '')
  end
end
return 1

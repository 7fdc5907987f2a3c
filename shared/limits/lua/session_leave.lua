-- Take a task, which could not be written, from the end of its session's line. A repeat changes nothing.

local line = KEYS[1]
local task = ARGV[1]

if redis.call('HGET', line, 'task') == task then
  local before = redis.call('HGET', line, 'before')
  if before == '' then
    redis.call('DEL', line)
  else
    redis.call('HSET', line, 'task', before, 'before', '')
  end
end
return 1

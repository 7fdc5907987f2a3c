-- Take a task, which could not be written, out of its session's line. A repeat changes nothing.

local line = KEYS[1]
local task = ARGV[1]

local ids = {}
for id in string.gmatch(redis.call('HGET', line, 'ids') or '', '%S+') do
  if id ~= task then
    ids[#ids + 1] = id
  end
end
if #ids == 0 then
  redis.call('DEL', line)
else
  redis.call('HSET', line, 'ids', table.concat(ids, ' '))
end
return 1

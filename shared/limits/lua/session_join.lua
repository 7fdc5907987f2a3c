-- Put a task at the end of its session's line. Reply: the last task in front of it that is still open, else ''.
-- A repeat after a lost reply finds itself in the line and gets the same answer.

local entries, line = unpack(KEYS)
local task, first, keep_s, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local ids, here = { first }, nil
for id in string.gmatch(redis.call('HGET', line, 'ids') or redis.call('HGET', line, 'task') or '', '%S+') do
  ids[#ids + 1] = id
  if id == task then
    here = #ids
  end
end
if not here then
  ids[#ids + 1] = task
  here = #ids
  redis.call('HSET', line, 'ids', table.concat(ids, ' ', math.max(2, here - most + 1)))
end
redis.call('EXPIRE', line, keep_s)
for n = here - 1, 1, -1 do
  if ids[n] ~= '' and redis.call('HEXISTS', entries, ids[n]) == 1 then
    return ids[n]
  end
end
return ''

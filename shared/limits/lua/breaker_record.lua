-- Take in how a permitted call ended.

local state, index = KEYS[1], KEYS[2]
local now = clock(ARGV[1])
local name, outcome, started, probe = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local threshold, open_us, keep_s = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]

local v = redis.call('HMGET', state, 'fails', 'until', 'changed', 'probe')
local fails, changed = tonumber(v[1] or 0), tonumber(v[3] or -1)
local bad = outcome == 'failure' or outcome == 'fatal'

local function write(...)
  redis.call('HSET', state, ...)
  redis.call('EXPIRE', state, keep_s)
  redis.call('ZADD', index, int(now), name)
  redis.call('EXPIRE', index, keep_s)
end

if probe ~= '' then
  if v[4] ~= probe then
    return 0 -- its lease lapsed and another call probes
  end
  redis.call('HDEL', state, 'probe', 'lease')
  if outcome == 'success' then
    redis.call('HDEL', state, 'until')
    write('changed', int(now), 'fails', 0)
  elseif bad then
    write('changed', int(now), 'until', int(now + open_us))
  end
  return 1
end
if v[2] or started <= changed then
  return 0 -- open, or started before the last change
end
if outcome == 'success' and fails > 0 then
  write('fails', 0)
elseif bad then
  if outcome == 'fatal' or fails + 1 >= threshold then
    write('changed', int(now), 'until', int(now + open_us), 'fails', 0)
  else
    write('fails', fails + 1)
  end
end
return 1

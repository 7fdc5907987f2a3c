-- Hand out open entries whose time for a look has come, and set the next look, so that two sweeps share the work.

local now = clock(ARGV[1])
local members = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now), 'LIMIT', 0, ARGV[2])
for _, member in ipairs(members) do
  redis.call('ZADD', KEYS[1], int(now + tonumber(ARGV[3])), member)
end
return members

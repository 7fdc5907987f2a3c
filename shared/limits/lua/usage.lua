-- What a user has used of each limit; changes nothing.
-- Reply: {used requests, next_us, full_us, open tasks, running, midnight_us, fresh?, tokens used, tokens reserved,
-- money used, money reserved, then of the service: open tasks, fresh?, and the same four}

local log, entries, slots, spend, spend_service, owners = unpack(KEYS)
local now = clock(ARGV[1])
local quota, window, fresh_us = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local owner = ARGV[5]

local used = redis.call('ZCOUNT', log, '(' .. int(now - window), '+inf')
local next_us, full_us = 0, 0
if quota > 0 and used > 0 then
  next_us = leaves(log, math.min(used, quota), window) - now
  full_us = leaves(log, 1, window) - now
end
local s = redis.call('HMGET', spend, 'at', 'tu', 'tr', 'mu', 'mr')
local fresh = s[1] and now - tonumber(s[1]) < fresh_us
local v = redis.call('HMGET', spend_service, 'at', 'tu', 'tr', 'mu', 'mr')
local fresh_service = v[1] and now - tonumber(v[1]) < fresh_us
return {
  used, next_us, full_us, redis.call('HLEN', entries), redis.call('ZCOUNT', slots, '(' .. int(now), '+inf'),
  until_midnight(now), fresh and 1 or 0, tonumber(s[2] or 0), tonumber(s[3] or 0), tonumber(s[4] or 0), tonumber(s[5] or 0),
  tonumber(redis.call('ZSCORE', owners, owner) or 0), fresh_service and 1 or 0,
  tonumber(v[2] or 0), tonumber(v[3] or 0), tonumber(v[4] or 0), tonumber(v[5] or 0),
}

-- Give a task a running slot of its user, or renew the one it holds. Lapsed leases are free. Reply: 1 or 0.

local slots = KEYS[1]
local now = clock(ARGV[1])
local task, running, ttl_us = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

local lapses = redis.call('ZSCORE', slots, task)
if not (lapses and tonumber(lapses) > now) then
  if redis.call('ZCOUNT', slots, '(' .. int(now), '+inf') >= running then
    return 0
  end
end
redis.call('ZREMRANGEBYSCORE', slots, '-inf', int(now))
redis.call('ZADD', slots, int(now + ttl_us), task)
keep_slots(slots, now)
return 1

-- Give a task a running slot of its user, or renew the one it holds, and note that it starts (or, with a message in its
-- lane now, that it waits; without a lane its place in any is left as it is: somebody else may have unparked it just
-- now). Lapsed leases are free; a cap of 0 is none. Reply: 1 or 0.

local slots = KEYS[1]
local lanes = lanes_of(KEYS, 2)
local now = clock(ARGV[1])
local task, running, ttl_us = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local lane, owner, starts = ARGV[5], ARGV[6], ARGV[7] == 'start'

if running > 0 then
  local lapses = redis.call('ZSCORE', slots, task)
  if not (lapses and tonumber(lapses) > now) then
    if redis.call('ZCOUNT', slots, '(' .. int(now), '+inf') >= running then
      if lane ~= '' then
        lane_leave(lanes, task)
      end
      return 0
    end
  end
  redis.call('ZREMRANGEBYSCORE', slots, '-inf', int(now))
  redis.call('ZADD', slots, int(now + ttl_us), task)
  keep_slots(slots, now)
end
if starts then
  lane_start(lanes, lane, owner, task, now + ttl_us)
elseif lane ~= '' then
  lane_wait(lanes, lane, owner, task, now)
end
return 1

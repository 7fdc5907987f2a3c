-- A task was given back and waits in its lane, from `since` on; it keeps its user's slot. ARGV: now, task, for how long
-- the slot is kept (0: it holds none), lane, owner, since. One that was settled a moment ago does not wait.

local slots, done = KEYS[1], KEYS[2]
local lanes = lanes_of(KEYS, 3)
local now = clock(ARGV[1])
local task, ttl_us, lane, owner, since = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], tonumber(ARGV[6])
if redis.call('EXISTS', done) == 1 then
  lane_leave(lanes, task)
  return 0
end
if ttl_us > 0 then
  redis.call('ZADD', slots, int(now + ttl_us), task)
  keep_slots(slots, now)
end
lane_wait(lanes, lane, owner, task, now + since)
return 1

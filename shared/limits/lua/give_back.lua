-- A run gives its slot back, if another owner's task waits whose owner has less. KEYS: the lanes. ARGV: now, lane, owner,
-- the run's task, for how long a task has waited that nobody takes, for how long the one that gets the slot counts as
-- running. Reply: the task that is to have the slot, or an empty text.

local lanes = lanes_of(KEYS, 1)
local now = clock(ARGV[1])
local lane, owner, task, grace_us, hand_us = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
if not lanes.queue[lane] then
  return ''
end
lane_purge(lanes, lane, now)
local mine = lane_use(lanes, lane, owner)
local best, least
for _, other in ipairs(redis.call('ZRANGEBYSCORE', lanes.queue[lane], '-inf', int(now - grace_us), 'LIMIT', 0, 200)) do
  local theirs = lane_use(lanes, lane, other)
  if other ~= owner and gives_back(mine, theirs) and (not least or theirs < least) then
    best, least = other, theirs
  end
end
if not best then
  return ''
end
local next_one, since = oldest_of(lanes, lane, best)
lane_start(lanes, lane, best, next_one, now + hand_us, since)
lane_wait(lanes, lane, owner, task, now)
return next_one

-- What an environment is to do for its lane now. KEYS: paused, slots of lanes, deadlines, the lanes. ARGV: now, lane, how
-- many slots it has free, for how long a task has waited that nobody takes, for how long one that is stuck, for how long a
-- task that is handed out here counts as running, how many messages it holds for these slots.
-- Reply: {paused?, room or -1, tasks that are due and not handed out, tasks to take here, owners that owe a slot, tasks
-- past their deadline}

local paused, slots, deadlines = KEYS[1], KEYS[2], KEYS[3]
local lanes = lanes_of(KEYS, 4)
local now = clock(ARGV[1])
local lane, free = ARGV[2], tonumber(ARGV[3])
local grace_us, stuck_us, hand_us = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local held = tonumber(ARGV[7])
local queue, use = lanes.queue[lane], lanes.use[lane]

local late = redis.call('ZRANGEBYSCORE', deadlines, '-inf', int(now), 'LIMIT', 0, 10)
for _, task in ipairs(late) do
  redis.call('ZADD', deadlines, int(now + 10000000), task) -- whoever was told may fail
end
if not queue then
  return { 0, -1, 0, {}, {}, late }
end
local stops = redis.call('HGET', paused, lane)
if stops and tonumber(stops) > now then
  return { 1, 0, 0, {}, {}, late }
end
lane_purge(lanes, lane, now)
local room = -1
local most = tonumber(redis.call('HGET', slots, lane) or 0)
if most > 0 then
  room = math.max(0, most - redis.call('ZCARD', lanes.running[lane]))
  free = math.min(free, math.max(room, held)) -- in place of a message that is held a task takes no more room than that
end

-- Owners whose oldest task has waited for too long: the longest first, of equal use that one.
local waiting = redis.call('ZRANGEBYSCORE', queue, '-inf', int(now - grace_us), 'LIMIT', 0, 200)
local uses = {}
for n, owner in ipairs(waiting) do
  uses[n] = lane_use(lanes, lane, owner)
end
local top = redis.call('ZREVRANGE', use, 0, 0, 'WITHSCORES')
local highest = tonumber(top[2] or 0)
local picks = {}
while #picks < free do
  local best
  for n = 1, #waiting do
    if uses[n] and (not best or uses[n] < uses[best]) then
      best = n
    end
  end
  if not best then
    break
  end
  local task, since = oldest_of(lanes, lane, waiting[best])
  if not task or since > now - grace_us then
    uses[best] = nil
  elseif uses[best] + 1 < highest or since <= now - stuck_us then
    lane_start(lanes, lane, waiting[best], task, now + hand_us, since)
    picks[#picks + 1] = task
    uses[best] = uses[best] + 1
  else
    break -- of even shares the queue's order is good enough
  end
end

local due, least = 0, nil
for n, owner in ipairs(waiting) do
  local task, since = oldest_of(lanes, lane, owner)
  if task and since <= now - grace_us then
    due = due + 1
    if not least or (uses[n] or 0) < least then
      least = uses[n] or lane_use(lanes, lane, owner)
    end
  end
end
local owing = {}
if least then
  for _, owner in ipairs(redis.call('ZRANGEBYSCORE', use, int(least + 2), '+inf', 'LIMIT', 0, 200)) do
    owing[#owing + 1] = owner
  end
end
return { 0, room, due, picks, owing, late }

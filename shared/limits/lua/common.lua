-- Put in front of every script by the loader. Times are microseconds since the epoch, money is micro-USD.
-- Doubles hold both exactly (below 2^53), but Lua 5.1 prints only 14 digits, hence int().

local function int(n)
  return string.format('%.0f', n + 0) -- a negated 0 would print as -0, which is no integer to the server
end

-- The server's clock, unless a test gives the time.
local function clock(given)
  if given ~= '' then
    return tonumber(given)
  end
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end

local DAY_US = 86400 * 1000000
local KEEP_SPEND_S = 3 * 86400

local function until_midnight(now)
  return DAY_US - now % DAY_US
end

-- When the quota-th newest admission leaves the window (t - w, t]; only called when there is one.
local function leaves(log, quota, window)
  return tonumber(redis.call('ZREVRANGE', log, quota - 1, quota - 1, 'WITHSCORES')[2]) + window
end

-- A user's keys may have different windows and quotas on one log. The widest of each is kept in it, below all times.
local function widest(log, mark, value)
  local known = -tonumber(redis.call('ZSCORE', log, mark) or 0)
  if value > known then
    redis.call('ZADD', log, int(-value), mark)
    return value
  end
  return known
end

-- Use and reservations of one day: {used tokens, reserved tokens, used money, reserved money}, or nil when the
-- durable figures must be loaded (again).
local function spending(key, now, fresh_us)
  local v = redis.call('HMGET', key, 'at', 'tu', 'tr', 'mu', 'mr')
  if not v[1] or now - tonumber(v[1]) >= fresh_us then
    return nil
  end
  return { tonumber(v[2]), tonumber(v[3]), tonumber(v[4]), tonumber(v[5]) }
end

-- Take over durable figures; reservations that are held here stay.
local function seed(key, now, tokens, micro)
  redis.call('HSET', key, 'at', int(now), 'tu', tokens, 'mu', micro)
  redis.call('HSETNX', key, 'tr', 0)
  redis.call('HSETNX', key, 'mr', 0)
  redis.call('EXPIRE', key, KEEP_SPEND_S)
end

local function hold(key, tokens, micro)
  redis.call('HINCRBY', key, 'tr', int(tokens))
  redis.call('HINCRBY', key, 'mr', int(micro))
end

-- Give a reservation back and add what was really used.
local function unhold(key, tokens, micro, used_tokens, used_micro)
  if redis.call('EXISTS', key) == 0 then
    return -- it will be loaded with this use in it
  end
  if redis.call('HINCRBY', key, 'tr', int(-tokens)) < 0 then
    redis.call('HSET', key, 'tr', 0)
  end
  if redis.call('HINCRBY', key, 'mr', int(-micro)) < 0 then
    redis.call('HSET', key, 'mr', 0)
  end
  if used_tokens > 0 then
    redis.call('HINCRBY', key, 'tu', int(used_tokens))
  end
  if used_micro > 0 then
    redis.call('HINCRBY', key, 'mu', int(used_micro))
  end
end

-- An open entry is 'tokens:micro:flags'; flag 1: held against the user's day, 2: everybody's, 4: its service's.
local function read_entry(text)
  local tokens, micro, flags = string.match(text, '^(%d+):(%d+):(%d)$')
  flags = tonumber(flags)
  return tonumber(tokens), tonumber(micro), flags % 2 == 1, flags % 4 >= 2, flags >= 4
end

local function write_entry(key, task, tokens, micro, mine, all, service, keep_s)
  local flags = (mine and 1 or 0) + (all and 2 or 0) + (service and 4 or 0)
  redis.call('HSET', key, task, int(tokens) .. ':' .. int(micro) .. ':' .. flags)
  redis.call('EXPIRE', key, keep_s)
end

-- The owner that a user counts for, see `shared.limits.shares.owner_of`; a member of the open tasks ends with the user.
local function owner_of_member(member)
  return string.match(member, '^%S+ %S+ ([^/]+)')
end

-- Count an owner's open tasks.
local function count_open(owners, member, by, keep_s)
  local owner = owner_of_member(member)
  if tonumber(redis.call('ZINCRBY', owners, by, owner)) <= 0 then
    redis.call('ZREM', owners, owner)
  end
  if keep_s then
    redis.call('EXPIRE', owners, keep_s)
  end
end

-- Let the slots' key live as long as its last lease.
local function keep_slots(slots, now)
  local last = redis.call('ZREVRANGE', slots, 0, 0, 'WITHSCORES')
  if last[2] then
    redis.call('PEXPIRE', slots, int(math.ceil((tonumber(last[2]) - now) / 1000) + 1000))
  end
end

-- The rule of `shared.limits.shares`: whether an owner that uses `mine` of `total` may take one more, `owners` counting
-- all that are there. For what cannot be taken back.
local OVERDRAFT = 2
local function may_take(mine, total, owners, capacity)
  if total < capacity then
    return true
  end
  return mine < math.floor(capacity / math.max(1, owners)) and total < OVERDRAFT * capacity
end

local function gives_back(mine, theirs)
  return theirs + 1 < mine
end

-- Who waits and who runs in the lanes. `where` says of each task 'w lane since owner' or 'r lane owner', and under '@task'
-- of one that is handed out and not claimed since when it waits; `waiting` holds 'lane owner since task' in that order
-- (all scores 0), `queue` of a lane its owners by when the oldest task that waits was due, `use` of a lane its owners by
-- runs under way, `running` of a lane 'owner task' by when that lapses.
local LANE_KEEP_S = 86400

local function lanes_of(keys, from)
  return {
    where = keys[from],
    waiting = keys[from + 1],
    queue = { high = keys[from + 2], normal = keys[from + 5] },
    use = { high = keys[from + 3], normal = keys[from + 6] },
    running = { high = keys[from + 4], normal = keys[from + 7] },
  }
end

local function oldest_of(lanes, lane, owner)
  local found = redis.call('ZRANGEBYLEX', lanes.waiting, '[' .. lane .. ' ' .. owner .. ' ', '(' .. lane .. ' ' .. owner .. '!', 'LIMIT', 0, 1)
  if not found[1] then
    return nil
  end
  local since, task = string.match(found[1], '^%S+ %S+ (%d+) (%S+)$')
  return task, tonumber(since)
end

local function lane_leave(lanes, task)
  local at = redis.call('HGET', lanes.where, task)
  if not at then
    return
  end
  redis.call('HDEL', lanes.where, task, '@' .. task)
  local kind, lane, rest = string.match(at, '^(%a) (%a+) (.+)$')
  if kind == 'w' then
    local since, owner = string.match(rest, '^(%d+) (%S+)$')
    redis.call('ZREM', lanes.waiting, lane .. ' ' .. owner .. ' ' .. since .. ' ' .. task)
    local _, oldest = oldest_of(lanes, lane, owner)
    if oldest then
      redis.call('ZADD', lanes.queue[lane], int(oldest), owner)
    else
      redis.call('ZREM', lanes.queue[lane], owner)
    end
  elseif redis.call('ZREM', lanes.running[lane], rest .. ' ' .. task) == 1 then
    if tonumber(redis.call('ZINCRBY', lanes.use[lane], -1, rest)) <= 0 then
      redis.call('ZREM', lanes.use[lane], rest)
    end
  end
end

local function lane_keep(lanes, lane)
  for _, key in ipairs({ lanes.where, lanes.waiting, lanes.queue[lane], lanes.use[lane], lanes.running[lane] }) do
    redis.call('EXPIRE', key, LANE_KEEP_S)
  end
end

local function lane_wait(lanes, lane, owner, task, since)
  lane_leave(lanes, task)
  if not lanes.queue[lane] then
    return -- quarantine: its runs share nothing
  end
  local digits = string.format('%017.0f', since)
  redis.call('HSET', lanes.where, task, 'w ' .. lane .. ' ' .. digits .. ' ' .. owner)
  redis.call('ZADD', lanes.waiting, 0, lane .. ' ' .. owner .. ' ' .. digits .. ' ' .. task)
  local known = redis.call('ZSCORE', lanes.queue[lane], owner)
  if not known or tonumber(known) > since then
    redis.call('ZADD', lanes.queue[lane], int(since), owner)
  end
  lane_keep(lanes, lane)
end

-- Count a task as running; with `since` it is only handed out, and waits again from then on unless it is claimed.
local function lane_start(lanes, lane, owner, task, until_us, since)
  lane_leave(lanes, task)
  if not lanes.queue[lane] then
    return
  end
  redis.call('HSET', lanes.where, task, 'r ' .. lane .. ' ' .. owner)
  if since then
    redis.call('HSET', lanes.where, '@' .. task, int(since))
  end
  redis.call('ZADD', lanes.running[lane], int(until_us), owner .. ' ' .. task)
  redis.call('ZINCRBY', lanes.use[lane], 1, owner)
  lane_keep(lanes, lane)
end

-- Forget runs whose worker has not been heard of; who was handed out to one that never had it waits again.
local function lane_purge(lanes, lane, now)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', lanes.running[lane], '-inf', int(now), 'LIMIT', 0, 200)) do
    local owner, task = string.match(member, '^(%S+) (%S+)$')
    local since = redis.call('HGET', lanes.where, '@' .. task)
    lane_leave(lanes, task)
    redis.call('ZREM', lanes.running[lane], member) -- had it no place in `where`
    if since then
      lane_wait(lanes, lane, owner, task, tonumber(since))
    end
  end
end

local function lane_use(lanes, lane, owner)
  return tonumber(redis.call('ZSCORE', lanes.use[lane], owner) or 0)
end

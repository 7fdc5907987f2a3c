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

-- An open entry is 'tokens:micro:flags'; flag 1: held against the user's day, 2: against everybody's.
local function read_entry(text)
  local tokens, micro, flags = string.match(text, '^(%d+):(%d+):(%d)$')
  flags = tonumber(flags)
  return tonumber(tokens), tonumber(micro), flags % 2 == 1, flags >= 2
end

local function write_entry(key, task, tokens, micro, mine, all, keep_s)
  redis.call('HSET', key, task, int(tokens) .. ':' .. int(micro) .. ':' .. (mine and 1 or 0) + (all and 2 or 0))
  redis.call('EXPIRE', key, keep_s)
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

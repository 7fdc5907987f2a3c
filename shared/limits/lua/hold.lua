-- Take, keep or give back a held request. KEYS: holds (member -> when its lease lapses), owner -> holds, owner -> until
-- when it wants one. Reply: 1 it is held, 0 it is not (any more).

local holds, owners, wants = unpack(KEYS)
local now = clock(ARGV[1])
local word, owner, id = ARGV[2], ARGV[3], ARGV[4]
local ttl_us, capacity, want_us = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local member = owner .. ' ' .. id -- no owner has a space

local function drop(one)
  if redis.call('ZREM', holds, one) == 1 then
    local whose = string.match(one, '^(%S+)')
    if redis.call('HINCRBY', owners, whose, -1) <= 0 then
      redis.call('HDEL', owners, whose)
    end
  end
end

for _, lapsed in ipairs(redis.call('ZRANGEBYSCORE', holds, '-inf', int(now), 'LIMIT', 0, 1000)) do
  drop(lapsed)
end
redis.call('ZREMRANGEBYSCORE', wants, '-inf', int(now))
if word == 'release' then
  drop(member)
  return 1
end

local mine = tonumber(redis.call('HGET', owners, owner) or 0)
local total = redis.call('ZCARD', holds)
local present = redis.call('HLEN', owners) + (mine == 0 and 1 or 0)
local waiting = redis.call('ZRANGE', wants, 0, 99)
for _, one in ipairs(waiting) do
  if one ~= owner and redis.call('HEXISTS', owners, one) == 0 then
    present = present + 1
  end
end
local share = math.max(1, math.floor(capacity / present))
local short = 0 -- others that want one and have less than their share
for _, one in ipairs(waiting) do
  if one ~= owner and tonumber(redis.call('HGET', owners, one) or 0) < share then
    short = short + 1
  end
end

local function keep()
  redis.call('ZADD', holds, int(now + ttl_us), member)
  local live_ms = int(math.ceil(ttl_us / 1000) + 3600000)
  redis.call('PEXPIRE', holds, live_ms)
  redis.call('PEXPIRE', owners, live_ms)
  return 1
end

if redis.call('ZSCORE', holds, member) then
  if total > capacity or (mine > share and capacity - total < short) then
    drop(member) -- owed to another; or there is less room than there was
    return 0
  end
  return keep()
end
if total < capacity and (mine < share or capacity - total > short) then
  redis.call('HINCRBY', owners, owner, 1)
  redis.call('ZREM', wants, owner)
  return keep()
end
if mine < share and capacity > 0 then
  redis.call('ZADD', wants, int(now + want_us), owner)
  redis.call('PEXPIRE', wants, 60000)
end
return 0

-- Take a place in the provider's two buckets (calls, tokens), now or within the longest wait; else have one reserved.
-- Each bucket is one number, its theoretical arrival time (GCRA), so a place taken cannot be overtaken.
-- A reserved place is a promise of a time, spaced by what owners that wait may have each: whoever comes back for it then
-- finds room, and an owner's flood is not in the way of another's first call. It is kept under the caller's id.
-- Reply: {taken, wait_us}; not taken: come back then, with the same id.

local rpm, tpm, waiting, place = unpack(KEYS)
local now = clock(ARGV[1])
local call_us, call_room = tonumber(ARGV[2]), tonumber(ARGV[3])
local cost, token_room = tonumber(ARGV[4]), tonumber(ARGV[5])
local longest, owner, times = tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])

local wait, calls_at, tokens_at = 0, now, now
if call_room > 0 then
  calls_at = math.max(now, tonumber(redis.call('GET', rpm) or now))
  wait = math.max(wait, calls_at + call_us - call_room - now)
end
if token_room > 0 then
  tokens_at = math.max(now, tonumber(redis.call('GET', tpm) or now))
  -- a call larger than the bucket waits until it is full, and leaves a debt
  wait = math.max(wait, tokens_at + math.min(cost, token_room) - token_room - now)
end

local function take()
  if call_room > 0 then
    redis.call('SET', rpm, int(calls_at + call_us), 'PX', int(math.ceil((calls_at + call_us - now) / 1000) + 1000))
  end
  if token_room > 0 then
    redis.call('SET', tpm, int(tokens_at + cost), 'PX', int(math.ceil((tokens_at + cost - now) / 1000) + 1000))
  end
  if place then
    redis.call('DEL', place)
  end
  return { 1, wait }
end

if not place then -- nobody would come back for one
  if wait > longest then
    return { 0, wait }
  end
  return take()
end

local promised, broken = nil, 0
local text = redis.call('GET', place)
if text then
  local at, n = string.match(text, '^(%d+):(%d+)$')
  promised, broken = tonumber(at), tonumber(n)
  if promised - now > longest then
    return { 0, promised - now } -- it comes too early
  end
end
local last = tonumber(redis.call('ZSCORE', waiting, owner) or 0)
redis.call('ZREMRANGEBYSCORE', waiting, '-inf', int(now))
if wait <= longest and (promised or last <= now) then
  if promised then
    wait = math.max(wait, promised - now)
  end
  return take()
end
if promised and broken + 1 >= times then -- told to come back often enough: it waits here now, and the next pay for it
  return take()
end
-- Owners that wait take turns: with so many of them, each has that part of the rate.
local owners = redis.call('ZCARD', waiting) + (last > now and 0 or 1)
local step = math.max(call_room > 0 and call_us or 0, token_room > 0 and math.min(cost, token_room) or 0)
local at = math.max(now + wait, last > now and last + owners * step or 0)
redis.call('ZADD', waiting, int(at), owner)
redis.call('PEXPIRE', waiting, int(math.ceil((at - now) / 1000) + 60000))
local n = promised and broken + 1 or 0
redis.call('SET', place, int(at) .. ':' .. n, 'PX', int(math.ceil((at - now) / 1000) + 600000))
return { 0, at - now }

-- Take a place in the provider's two buckets (calls, tokens), now or within the longest wait; else take nothing.
-- Each bucket is one number, its theoretical arrival time (GCRA), so a place taken for later cannot be overtaken.
-- Reply: {taken, wait_us}.

local rpm, tpm = KEYS[1], KEYS[2]
local now = clock(ARGV[1])
local call_us, call_room = tonumber(ARGV[2]), tonumber(ARGV[3])
local cost, token_room = tonumber(ARGV[4]), tonumber(ARGV[5])
local longest = tonumber(ARGV[6])

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
if wait > longest then
  return { 0, wait }
end
if call_room > 0 then
  redis.call('SET', rpm, int(calls_at + call_us), 'PX', int(math.ceil((calls_at + call_us - now) / 1000) + 1000))
end
if token_room > 0 then
  redis.call('SET', tpm, int(tokens_at + cost), 'PX', int(math.ceil((tokens_at + cost - now) / 1000) + 1000))
end
return { 1, wait }

-- Correct the buckets after a call: give back what was not used, or take what was used beyond. Count the call.

local rpm, tpm, window = KEYS[1], KEYS[2], KEYS[3]
local now = clock(ARGV[1])
local back_call_us, back_tokens_us = tonumber(ARGV[2]), tonumber(ARGV[3])
local calls, throttled, keep_s = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]

local function shift(key, back)
  local at = math.max(now, tonumber(redis.call('GET', key) or now)) - back
  if at > now then
    redis.call('SET', key, int(at), 'PX', int(math.ceil((at - now) / 1000) + 1000))
  else
    redis.call('DEL', key)
  end
end
if back_call_us ~= 0 then
  shift(rpm, back_call_us)
end
if back_tokens_us ~= 0 then
  shift(tpm, back_tokens_us)
end
if calls > 0 then
  redis.call('HINCRBY', window, 'calls', calls)
  redis.call('HINCRBY', window, 'throttled', throttled)
  redis.call('EXPIRE', window, keep_s)
end
return 1

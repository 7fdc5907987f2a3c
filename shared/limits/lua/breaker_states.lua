-- State of each breaker: {word, failures, wait_us, half_open_us}.
local now = clock(ARGV[1])
local out = {}
for n, key in ipairs(KEYS) do
  local v = redis.call('HMGET', key, 'fails', 'until')
  local open_until = tonumber(v[2] or 0)
  local word = open_until == 0 and 'closed' or open_until > now and 'open' or 'half_open'
  local half_open = word == 'half_open' and now - open_until or 0
  out[n] = { word, tonumber(v[1] or 0), math.max(0, open_until - now), half_open }
end
return out

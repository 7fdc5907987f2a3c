-- State of each breaker: {word, failures, wait_us, half_open_us}.
local now = clock(ARGV[1])
local out = {}
for n, key in ipairs(KEYS) do
  local fails, open_until = 0, 0
  local v = redis.call('HGETALL', key)
  for m = 1, #v, 2 do
    if v[m] == 'fails' or string.sub(v[m], 1, 2) == 'o:' then
      fails = fails + tonumber(v[m + 1])
    elseif v[m] == 'until' then
      open_until = tonumber(v[m + 1])
    end
  end
  local word = open_until == 0 and 'closed' or open_until > now and 'open' or 'half_open'
  local half_open = word == 'half_open' and now - open_until or 0
  out[n] = { word, fails, math.max(0, open_until - now), half_open }
end
return out

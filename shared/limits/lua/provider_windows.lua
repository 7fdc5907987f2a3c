-- Calls and refusals of each minute asked for.
local out = {}
for n, key in ipairs(KEYS) do
  local v = redis.call('HMGET', key, 'calls', 'throttled')
  out[n] = { tonumber(v[1] or 0), tonumber(v[2] or 0) }
end
return out

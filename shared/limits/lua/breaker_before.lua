-- Ask for leave to make a call. Reply: {allowed, wait_us, probe, started_us, failures}.
-- Hash: fails, until (open before, half-open after; absent: closed), changed, probe (id), lease (us).

local now = clock(ARGV[1])
local id, lease_us, open_us = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local v = redis.call('HMGET', KEYS[1], 'until', 'probe', 'lease', 'fails')
local open_until, lease = tonumber(v[1] or 0), tonumber(v[3] or 0)
if open_until == 0 then
  return { 1, 0, 0, now, tonumber(v[4] or 0) }
end
if open_until > now then
  return { 0, open_until - now, 0, now, 0 }
end
if v[2] and v[2] ~= id and lease > now then -- the same id: a repeat after a lost reply
  return { 0, math.min(lease - now, open_us), 0, now, 0 }
end
redis.call('HSET', KEYS[1], 'probe', id, 'lease', int(now + lease_us))
return { 1, 0, 1, now, 0 }

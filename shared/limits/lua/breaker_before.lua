-- Ask for leave to make calls. KEYS: per call the breaker for all and its owner's own; from ARGV[4] on an id and the
-- owner for each.
-- Reply, per call: {allowed, wait_us, scope, started_us, failures}; scope is the breaker that refuses, or whose probe the
-- call is: 0 none, 1 the owner's own, 2 the one for all.
-- Hash: fails, until (open before, half-open after; absent: closed), changed, probe (id), lease (us). The one for all
-- has besides 'o:OWNER', failures that the owner's prompts may have caused, and probed (owner of the last failed probe).

local now = clock(ARGV[1])
local lease_us, open_us = tonumber(ARGV[2]), tonumber(ARGV[3])

-- Leave of one breaker: wait (0: none needed), whether the call would be its probe.
local function look(key, id)
  local v = redis.call('HMGET', key, 'until', 'probe', 'lease')
  local open_until, lease = tonumber(v[1] or 0), tonumber(v[3] or 0)
  if open_until == 0 then
    return 0, false
  end
  if open_until > now then
    return open_until - now, false
  end
  if v[2] and v[2] ~= id and lease > now then -- the same id: a repeat after a lost reply
    return math.min(lease - now, open_us), false
  end
  return 0, true
end

local function failures(all, own)
  local known = tonumber(redis.call('HGET', own, 'fails') or 0)
  local owners, others, everybodys = 0, 0, 0
  local v = redis.call('HGETALL', all)
  for n = 1, #v, 2 do
    if v[n] == 'fails' then
      everybodys = tonumber(v[n + 1])
    elseif string.sub(v[n], 1, 2) == 'o:' then
      owners, others = owners + 1, others + tonumber(v[n + 1])
    end
  end
  return math.max(known, owners > 1 and others or 0) + everybodys
end

local out = {}
for n = 1, #KEYS / 2 do
  local all, own = KEYS[2 * n - 1], KEYS[2 * n]
  local id, owner = ARGV[2 + 2 * n], ARGV[3 + 2 * n]
  local wait_all, probes_all = look(all, id)
  local wait_own, probes_own = look(own, id)
  local wait = math.max(wait_all, wait_own)
  if wait > 0 then
    out[n] = { 0, wait, wait_all > 0 and 2 or 1, now, 0 }
  elseif probes_all or probes_own then
    if probes_all then
      redis.call('HSET', all, 'probe', id, 'lease', int(now + lease_us))
    end
    if probes_own then
      redis.call('HSET', own, 'probe', id, 'lease', int(now + lease_us))
      redis.call('EXPIRE', own, 86400)
    end
    -- Whose probe failed before, unconfirmed by others, is trying the own prompt once more.
    local for_all = probes_all and redis.call('HGET', all, 'probed') ~= owner
    out[n] = { 1, 0, for_all and 2 or 1, now, 0 }
  else
    out[n] = { 1, 0, 0, now, failures(all, own) }
  end
end
return out

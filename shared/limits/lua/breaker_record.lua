-- Take in how permitted calls ended. KEYS: both indexes, then per call the breaker for all and its owner's own.
-- ARGV: now, threshold, open_us, keep_s, then per call name, owner, outcome, started_us, probe id ('' for none).
-- What an owner's prompts may have caused ('failure') counts for the owner; for all it counts only when others met it,
-- too. 'unreachable' and 'fatal' no prompt can cause: they count for all.

local index, index_own = KEYS[1], KEYS[2]
local now = clock(ARGV[1])
local threshold, open_us, keep_s = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local most_of_one = math.ceil(threshold / 2) -- so much of one owner's evidence counts for all

local function note(key, list, member, ...)
  redis.call('HSET', key, ...)
  redis.call('EXPIRE', key, keep_s)
  redis.call('ZADD', list, int(now), member)
  redis.call('EXPIRE', list, keep_s)
end

local function forget_evidence(key)
  for _, name in ipairs(redis.call('HKEYS', key)) do
    if name == 'fails' or name == 'probed' or string.sub(name, 1, 2) == 'o:' then
      redis.call('HDEL', key, name)
    end
  end
end

local function open(key, list, member)
  forget_evidence(key)
  redis.call('HDEL', key, 'probe', 'lease')
  note(key, list, member, 'changed', int(now), 'until', int(now + open_us), 'fails', 0)
end

local function close(key, list, member)
  forget_evidence(key)
  redis.call('HDEL', key, 'until', 'probe', 'lease')
  note(key, list, member, 'changed', int(now), 'fails', 0)
end

-- Whether the call says anything about this breaker's present: 'probe', 'call', or nil.
local function standing(key, started, id)
  local v = redis.call('HMGET', key, 'until', 'changed', 'probe')
  if v[1] then
    return id ~= '' and v[3] == id and 'probe' or nil -- else open, or another probes since its lease lapsed
  end
  return started > tonumber(v[2] or -1) and 'call' or nil
end

local function enough(key)
  local owners, all, fails = 0, 0, 0
  local v = redis.call('HGETALL', key)
  for n = 1, #v, 2 do
    if v[n] == 'fails' then
      fails = tonumber(v[n + 1])
    elseif string.sub(v[n], 1, 2) == 'o:' then
      owners, all = owners + 1, all + math.min(most_of_one, tonumber(v[n + 1]))
    end
  end
  return fails >= threshold or (owners > 1 and fails + all >= threshold)
end

for n = 0, (#ARGV - 4) / 5 - 1 do
  local all, own = KEYS[3 + 2 * n], KEYS[4 + 2 * n]
  local name, owner, outcome = ARGV[5 + 5 * n], ARGV[6 + 5 * n], ARGV[7 + 5 * n]
  local started, id = tonumber(ARGV[8 + 5 * n]), ARGV[9 + 5 * n]
  local mine = owner .. ' ' .. name
  local for_all, for_own = standing(all, started, id), standing(own, started, id)

  if for_own == 'probe' then
    redis.call('HDEL', own, 'probe', 'lease')
  end
  if for_all == 'probe' then
    redis.call('HDEL', all, 'probe', 'lease')
  end

  if outcome == 'success' then
    if for_own == 'probe' then
      close(own, index_own, mine)
    elseif for_own and tonumber(redis.call('HGET', own, 'fails') or 0) > 0 then
      note(own, index_own, mine, 'fails', 0)
    end
    if for_all == 'probe' then
      close(all, index, name)
    elseif for_all and redis.call('HLEN', all) > 0 then
      forget_evidence(all)
    end
  elseif outcome == 'failure' then
    local fails = tonumber(redis.call('HGET', own, 'fails') or 0) + 1
    if for_own == 'probe' or (for_own and fails >= threshold) or for_all == 'probe' then
      open(own, index_own, mine) -- a failed probe of all is not tried again by the same owner at once
    elseif for_own then
      note(own, index_own, mine, 'fails', fails)
    end
    if for_all == 'probe' then
      local probed = redis.call('HGET', all, 'probed')
      if probed and probed ~= owner then
        open(all, index, name)
      else
        note(all, index, name, 'probed', owner)
      end
    elseif for_all then
      local counted = tonumber(redis.call('HGET', all, 'o:' .. owner) or 0) + 1
      note(all, index, name, 'o:' .. owner, math.min(counted, most_of_one))
      if enough(all) then
        open(all, index, name)
      end
    end
  elseif outcome == 'unreachable' or outcome == 'fatal' then
    if for_all then
      local fails = tonumber(redis.call('HGET', all, 'fails') or 0) + 1
      note(all, index, name, 'fails', fails)
      if for_all == 'probe' or outcome == 'fatal' or enough(all) then
        open(all, index, name)
      end
    end
  end
end
return 1

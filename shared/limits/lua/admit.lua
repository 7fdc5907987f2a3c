-- Admit a task, or say which limit refuses and for how long. Either every counter takes it or none changes.
-- Reply: {'need', user?, all?} when durable spending must be loaded first, else
-- {'ok' | 'no', limit, retry_us, slot, used requests, next_us, full_us, open tasks, tokens left, money left, midnight_us}

local ingress, open, log, entries, slots, spend, spend_all = unpack(KEYS)
local now = clock(ARGV[1])
local task, member = ARGV[2], ARGV[3]
local quota, window = tonumber(ARGV[4]), tonumber(ARGV[5])
local queued, queued_all = tonumber(ARGV[6]), tonumber(ARGV[7])
local running, slot_us = tonumber(ARGV[8]), tonumber(ARGV[9])
local tokens, micro = tonumber(ARGV[10]), tonumber(ARGV[11])
local tokens_cap, micro_cap = tonumber(ARGV[12]), tonumber(ARGV[13])
local tokens_cap_all, micro_cap_all = tonumber(ARGV[14]), tonumber(ARGV[15])
local interval, burst = tonumber(ARGV[16]), tonumber(ARGV[17])
local check_us, keep_s, fresh_us, busy_us = tonumber(ARGV[18]), tonumber(ARGV[19]), tonumber(ARGV[20]), tonumber(ARGV[21])

local mine = tokens_cap > 0 or micro_cap > 0
local all = tokens_cap_all > 0 or micro_cap_all > 0
local midnight = until_midnight(now)
local known = redis.call('HEXISTS', entries, task) == 1 -- a repeat after a lost reply

-- Durable figures that the caller was asked for. A cache fill, so it stays even when the task is refused.
if ARGV[22] ~= '' then
  seed(spend, now, ARGV[22], ARGV[23])
end
if ARGV[24] ~= '' then
  seed(spend_all, now, ARGV[24], ARGV[25])
end
local of_user = mine and spending(spend, now, fresh_us) or nil
local of_all = all and spending(spend_all, now, fresh_us) or nil
if not known and ((mine and not of_user) or (all and not of_all)) then
  return { 'need', (mine and not of_user) and 1 or 0, (all and not of_all) and 1 or 0 }
end

local limit, wait = '', -1
local function refuse(name, us) -- of several refusals the longest wait counts: only then is the client admitted
  if us > wait then
    limit, wait = name, us
  end
end

local used = quota > 0 and redis.call('ZCOUNT', log, '(' .. int(now - window), '+inf') or 0
local tat = now
local open_tasks = redis.call('HLEN', entries)
if not known then
  if quota > 0 and used >= quota then
    refuse('requests', leaves(log, quota, window) - now)
  end
  if interval > 0 then
    tat = math.max(now, tonumber(redis.call('GET', ingress) or now)) + interval
    if tat - now > interval * burst then
      refuse('ingress', tat - now - interval * burst)
    end
  end
  if queued > 0 and open_tasks >= queued then
    refuse('queued', busy_us)
  end
  if queued_all > 0 and redis.call('ZCARD', open) >= queued_all then
    refuse('queued_global', busy_us)
  end
  if tokens_cap > 0 and of_user[1] + of_user[2] + tokens > tokens_cap then
    refuse('tokens_per_day', midnight)
  end
  if micro_cap > 0 and of_user[3] + of_user[4] + micro > micro_cap then
    refuse('usd_per_day', midnight)
  end
  if tokens_cap_all > 0 and of_all[1] + of_all[2] + tokens > tokens_cap_all then
    refuse('tokens_per_day_global', midnight)
  end
  if micro_cap_all > 0 and of_all[3] + of_all[4] + micro > micro_cap_all then
    refuse('usd_per_day_global', midnight)
  end
end

local slot = 1
if limit == '' and known then
  slot = (running == 0 or redis.call('ZSCORE', slots, task)) and 1 or 0
elseif limit == '' then
  if quota > 0 then
    local kept_us = widest(log, 'window', window)
    redis.call('ZREMRANGEBYSCORE', log, '(0', int(now - kept_us))
    redis.call('ZADD', log, int(now), task)
    -- Beyond the marks, which stand first, no more than the largest quota counts.
    redis.call('ZREMRANGEBYRANK', log, 2, int(-widest(log, 'quota', quota) - 1))
    redis.call('PEXPIRE', log, int(math.ceil(kept_us / 1000) + 1000))
    used = used + 1
  end
  if interval > 0 then
    redis.call('SET', ingress, int(tat), 'PX', int(math.ceil((tat - now) / 1000) + 1000))
  end
  if mine then
    of_user[2], of_user[4] = of_user[2] + tokens, of_user[4] + micro
    redis.call('HSET', spend, 'tr', int(of_user[2]), 'mr', int(of_user[4]))
  end
  if all then
    redis.call('HSET', spend_all, 'tr', int(of_all[2] + tokens), 'mr', int(of_all[4] + micro))
  end
  write_entry(entries, task, tokens, micro, mine, all, keep_s)
  redis.call('ZADD', open, int(now + check_us), member)
  redis.call('EXPIRE', open, keep_s)
  open_tasks = open_tasks + 1
  if running > 0 then
    redis.call('ZREMRANGEBYSCORE', slots, '-inf', int(now))
    if redis.call('ZCARD', slots) < running then
      redis.call('ZADD', slots, int(now + slot_us), task)
      redis.call('PEXPIRE', slots, int(math.ceil(slot_us / 1000) + 1000)) -- no lease is longer
    else
      slot = 0
    end
  end
end

local next_us, full_us = 0, 0
if quota > 0 and used > 0 then
  next_us = leaves(log, math.min(used, quota), window) - now
  full_us = (limit == '' and not known) and window or leaves(log, 1, window) - now
end
return {
  limit == '' and 'ok' or 'no', limit, math.max(wait, 0), slot, used, next_us, full_us, open_tasks,
  of_user and math.max(0, tokens_cap - of_user[1] - of_user[2]) or 0,
  of_user and math.max(0, micro_cap - of_user[3] - of_user[4]) or 0,
  midnight,
}

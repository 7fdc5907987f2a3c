-- Admit a task, or say which limit refuses and for how long. Either every counter takes it or none changes.
-- Reply: {'need', user?, all?, service?} when durable spending must be loaded first, else
-- {'ok' | 'no', limit, retry_us, slot, used requests, next_us, full_us, open tasks, tokens left, money left, midnight_us,
-- the service's open tasks, its tokens left, its money left}

local ingress, open, log, entries, slots, spend, spend_all, spend_service = unpack(KEYS)
local owners, ingress_owners, ingress_wants, deadlines = KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local lanes = lanes_of(KEYS, 13)
local now = clock(ARGV[1])
local task, member = ARGV[2], ARGV[3]
local quota, window = tonumber(ARGV[4]), tonumber(ARGV[5])
local queued, queued_all = tonumber(ARGV[6]), tonumber(ARGV[7])
local running, slot_us = tonumber(ARGV[8]), tonumber(ARGV[9])
local tokens, micro = tonumber(ARGV[10]), tonumber(ARGV[11])
local tokens_cap, micro_cap = tonumber(ARGV[12]), tonumber(ARGV[13])
local tokens_cap_all, micro_cap_all = tonumber(ARGV[14]), tonumber(ARGV[15])
local tokens_cap_service, micro_cap_service = tonumber(ARGV[16]), tonumber(ARGV[17])
local interval, burst = tonumber(ARGV[18]), tonumber(ARGV[19])
local check_us, keep_s, fresh_us, busy_us = tonumber(ARGV[20]), tonumber(ARGV[21]), tonumber(ARGV[22]), tonumber(ARGV[23])
local lane, deadline, queued_service = ARGV[24], tonumber(ARGV[25]), tonumber(ARGV[26])
local owner = owner_of_member(member)

local mine = tokens_cap > 0 or micro_cap > 0
local all = tokens_cap_all > 0 or micro_cap_all > 0
local service = tokens_cap_service > 0 or micro_cap_service > 0
local midnight = until_midnight(now)
local known = redis.call('HEXISTS', entries, task) == 1 -- a repeat after a lost reply

-- Durable figures that the caller was asked for. A cache fill, so it stays even when the task is refused.
if ARGV[27] ~= '' then
  seed(spend, now, ARGV[27], ARGV[28])
end
if ARGV[29] ~= '' then
  seed(spend_all, now, ARGV[29], ARGV[30])
end
if ARGV[31] ~= '' then
  seed(spend_service, now, ARGV[31], ARGV[32])
end
local of_user = mine and spending(spend, now, fresh_us) or nil
local of_all = all and spending(spend_all, now, fresh_us) or nil
local of_service = service and spending(spend_service, now, fresh_us) or nil
if not known and ((mine and not of_user) or (all and not of_all) or (service and not of_service)) then
  return { 'need', (mine and not of_user) and 1 or 0, (all and not of_all) and 1 or 0, (service and not of_service) and 1 or 0 }
end

local limit, wait = '', -1
local function refuse(name, us) -- of several refusals the longest wait counts: only then is the client admitted
  if us > wait then
    limit, wait = name, us
  end
end

local function over(name, of, used_tokens, used_micro)
  if used_tokens > 0 and of[1] + of[2] + tokens > used_tokens then
    refuse('tokens_per_day' .. name, midnight)
  end
  if used_micro > 0 and of[3] + of[4] + micro > used_micro then
    refuse('usd_per_day' .. name, midnight)
  end
end

-- The ingress bucket. Owners were here within a minute; each has a part of the bucket of its own, by which it is told who
-- is below its share. Who is not leaves a quarter of the bucket to the others; everybody leaves what others below their
-- share were refused before.
local ACTIVE_US, WANT_US = 60000000, 3000000
local own_tat, below
local function check_ingress()
  redis.call('ZREMRANGEBYSCORE', ingress_owners, '-inf', int(now - ACTIVE_US))
  local last = tonumber(redis.call('ZSCORE', ingress_owners, owner) or now)
  local present = redis.call('ZCARD', ingress_owners)
  if not redis.call('ZSCORE', ingress_owners, owner) then
    present = present + 1
  end
  own_tat = math.max(now, last) + interval * present
  below = own_tat - now <= interval * present * math.max(1, math.floor(burst / present))
  redis.call('ZREMRANGEBYSCORE', ingress_wants, '-inf', int(now))
  local before = redis.call('ZRANK', ingress_wants, owner)
  local kept = before or redis.call('ZCARD', ingress_wants)
  if not below and present > 1 then
    kept = math.max(kept, math.floor(burst / 4))
  end
  local tat = math.max(now, tonumber(redis.call('GET', ingress) or now)) + interval
  if tat - now > interval * (burst - kept) then
    refuse('ingress', tat - now - interval * (burst - kept))
    if below and not before then
      local until_us = tat - now - interval * (burst - kept) + WANT_US
      redis.call('ZADD', ingress_wants, int(now + until_us), owner)
      redis.call('PEXPIRE', ingress_wants, int(math.ceil(until_us / 1000) + 60000))
    end
    redis.call('ZADD', ingress_owners, 'NX', int(now), owner) -- it is there
    redis.call('PEXPIRE', ingress_owners, int(ACTIVE_US / 500))
  end
  return tat
end

local used = quota > 0 and redis.call('ZCOUNT', log, '(' .. int(now - window), '+inf') or 0
local tat = now
local open_tasks = redis.call('HLEN', entries)
local open_service = tonumber(redis.call('ZSCORE', owners, owner) or 0)
if not known then
  if quota > 0 and used >= quota then
    refuse('requests', leaves(log, quota, window) - now)
  end
  if interval > 0 then
    tat = check_ingress()
  end
  if queued > 0 and open_tasks >= queued then
    refuse('queued', busy_us)
  end
  if queued_service > 0 and open_service >= queued_service then
    refuse('queued_key', busy_us)
  end
  if queued_all > 0 then
    local there = redis.call('ZCARD', owners) + (open_service == 0 and 1 or 0)
    if not may_take(open_service, redis.call('ZCARD', open), there, queued_all) then
      refuse('queued_global', busy_us)
    end
  end
  if mine then
    over('', of_user, tokens_cap, micro_cap)
  end
  if service then
    over('_key', of_service, tokens_cap_service, micro_cap_service)
  end
  if all then
    over('_global', of_all, tokens_cap_all, micro_cap_all)
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
    redis.call('ZADD', ingress_owners, int(own_tat), owner)
    redis.call('PEXPIRE', ingress_owners, int(math.ceil((own_tat - now + ACTIVE_US) / 1000) + 60000))
    redis.call('ZREM', ingress_wants, owner)
  end
  if mine then
    of_user[2], of_user[4] = of_user[2] + tokens, of_user[4] + micro
    redis.call('HSET', spend, 'tr', int(of_user[2]), 'mr', int(of_user[4]))
  end
  if all then
    redis.call('HSET', spend_all, 'tr', int(of_all[2] + tokens), 'mr', int(of_all[4] + micro))
  end
  if service then
    of_service[2], of_service[4] = of_service[2] + tokens, of_service[4] + micro
    redis.call('HSET', spend_service, 'tr', int(of_service[2]), 'mr', int(of_service[4]))
  end
  write_entry(entries, task, tokens, micro, mine, all, service, keep_s)
  redis.call('ZADD', open, int(now + check_us), member)
  redis.call('EXPIRE', open, keep_s)
  count_open(owners, member, 1, keep_s)
  open_tasks, open_service = open_tasks + 1, open_service + 1
  if running > 0 then
    redis.call('ZREMRANGEBYSCORE', slots, '-inf', int(now))
    if redis.call('ZCARD', slots) < running then
      redis.call('ZADD', slots, int(now + slot_us), task)
      redis.call('PEXPIRE', slots, int(math.ceil(slot_us / 1000) + 1000)) -- no lease is longer
    else
      slot = 0
    end
  end
  if slot == 1 then
    lane_wait(lanes, lane, owner, task, now)
  end
  if deadline > 0 then
    redis.call('ZADD', deadlines, int(deadline), task)
    redis.call('EXPIRE', deadlines, keep_s)
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
  midnight, open_service,
  of_service and math.max(0, tokens_cap_service - of_service[1] - of_service[2]) or 0,
  of_service and math.max(0, micro_cap_service - of_service[3] - of_service[4]) or 0,
}

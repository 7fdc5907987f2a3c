-- Raise a task's reservation to the given amounts, or say which ceiling refuses. An amount, not a difference: a worker
-- that died before it could note what it had reserved is followed by one that asks for the same. With 'adopt' (an entry
-- was lost with the server's data) the entry is only put back, ceilings or not, and an existing one is left alone.
-- Reply: {'need', user?, all?, service?} or {'ok'} or {'no', limit}.

local open, entries, spend, spend_all, done, spend_service, owners = unpack(KEYS)
local now = clock(ARGV[1])
local task, member, adopt = ARGV[2], ARGV[3], ARGV[4] == '1'
local tokens, micro = tonumber(ARGV[5]), tonumber(ARGV[6])
local tokens_cap, micro_cap = tonumber(ARGV[7]), tonumber(ARGV[8])
local tokens_cap_all, micro_cap_all = tonumber(ARGV[9]), tonumber(ARGV[10])
local tokens_cap_service, micro_cap_service = tonumber(ARGV[11]), tonumber(ARGV[12])
local check_us, keep_s, fresh_us = tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15])

local mine = tokens_cap > 0 or micro_cap > 0
local all = tokens_cap_all > 0 or micro_cap_all > 0
local service = tokens_cap_service > 0 or micro_cap_service > 0
if ARGV[16] ~= '' then
  seed(spend, now, ARGV[16], ARGV[17])
end
if ARGV[18] ~= '' then
  seed(spend_all, now, ARGV[18], ARGV[19])
end
if ARGV[20] ~= '' then
  seed(spend_service, now, ARGV[20], ARGV[21])
end
if redis.call('EXISTS', done) == 1 then
  return { 'no', 'ended' }
end
local entry = redis.call('HGET', entries, task)
if adopt and entry then
  return { 'ok' }
end
local of_user = mine and spending(spend, now, fresh_us) or nil
local of_all = all and spending(spend_all, now, fresh_us) or nil
local of_service = service and spending(spend_service, now, fresh_us) or nil
if (mine and not of_user) or (all and not of_all) or (service and not of_service) then
  return { 'need', (mine and not of_user) and 1 or 0, (all and not of_all) and 1 or 0, (service and not of_service) and 1 or 0 }
end
local held_tokens, held_micro, was_mine, was_all, was_service = 0, 0, false, false, false
if entry then
  held_tokens, held_micro, was_mine, was_all, was_service = read_entry(entry)
end
local to_tokens, to_micro = math.max(tokens, held_tokens), math.max(micro, held_micro)
-- What a ceiling is asked for. One that came into force since counts all that the entry holds.
local function more(was)
  if was then
    return to_tokens - held_tokens, to_micro - held_micro
  end
  return to_tokens, to_micro
end
local user_tokens, user_micro = more(was_mine)
local all_tokens, all_micro = more(was_all)
local service_tokens, service_micro = more(was_service)
local function over(of, more_tokens, more_micro, most_tokens, most_micro)
  if most_tokens > 0 and of[1] + of[2] + more_tokens > most_tokens then
    return 'tokens_per_day'
  end
  if most_micro > 0 and of[3] + of[4] + more_micro > most_micro then
    return 'usd_per_day'
  end
end
if not adopt then
  local passed = mine and over(of_user, user_tokens, user_micro, tokens_cap, micro_cap)
  if passed then
    return { 'no', passed }
  end
  passed = service and over(of_service, service_tokens, service_micro, tokens_cap_service, micro_cap_service)
  if passed then
    return { 'no', passed .. '_key' }
  end
  passed = all and over(of_all, all_tokens, all_micro, tokens_cap_all, micro_cap_all)
  if passed then
    return { 'no', passed .. '_global' }
  end
end

if not entry then
  redis.call('ZADD', open, int(now + check_us), member)
  redis.call('EXPIRE', open, keep_s)
  count_open(owners, member, 1, keep_s)
end
if was_mine or mine then
  hold(spend, user_tokens, user_micro)
end
if was_all or all then
  hold(spend_all, all_tokens, all_micro)
end
if was_service or service then
  hold(spend_service, service_tokens, service_micro)
end
write_entry(entries, task, to_tokens, to_micro, mine or was_mine, all or was_all, service or was_service, keep_s)
return { 'ok' }

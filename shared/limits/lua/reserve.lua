-- Raise a task's reservation to the given amounts, or say which ceiling refuses. An amount, not a difference: a worker
-- that died before it could note what it had reserved is followed by one that asks for the same. With 'adopt' (an entry was lost with the server's data)
-- the entry is only put back, ceilings or not, and an existing one is left alone.
-- Reply: {'need', user?, all?} or {'ok'} or {'no', limit}.

local open, entries, spend, spend_all, done = unpack(KEYS)
local now = clock(ARGV[1])
local task, member, adopt = ARGV[2], ARGV[3], ARGV[4] == '1'
local tokens, micro = tonumber(ARGV[5]), tonumber(ARGV[6])
local tokens_cap, micro_cap = tonumber(ARGV[7]), tonumber(ARGV[8])
local tokens_cap_all, micro_cap_all = tonumber(ARGV[9]), tonumber(ARGV[10])
local check_us, keep_s, fresh_us = tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])

local mine = tokens_cap > 0 or micro_cap > 0
local all = tokens_cap_all > 0 or micro_cap_all > 0
if ARGV[14] ~= '' then
  seed(spend, now, ARGV[14], ARGV[15])
end
if ARGV[16] ~= '' then
  seed(spend_all, now, ARGV[16], ARGV[17])
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
if (mine and not of_user) or (all and not of_all) then
  return { 'need', (mine and not of_user) and 1 or 0, (all and not of_all) and 1 or 0 }
end
local held_tokens, held_micro, was_mine, was_all = 0, 0, false, false
if entry then
  held_tokens, held_micro, was_mine, was_all = read_entry(entry)
end
local to_tokens, to_micro = math.max(tokens, held_tokens), math.max(micro, held_micro)
-- What a ceiling is asked for. One that came into force since counts all that the entry holds.
local user_tokens, user_micro = to_tokens, to_micro
if was_mine then
  user_tokens, user_micro = to_tokens - held_tokens, to_micro - held_micro
end
local all_tokens, all_micro = to_tokens, to_micro
if was_all then
  all_tokens, all_micro = to_tokens - held_tokens, to_micro - held_micro
end
if not adopt then
  if tokens_cap > 0 and of_user[1] + of_user[2] + user_tokens > tokens_cap then
    return { 'no', 'tokens_per_day' }
  end
  if micro_cap > 0 and of_user[3] + of_user[4] + user_micro > micro_cap then
    return { 'no', 'usd_per_day' }
  end
  if tokens_cap_all > 0 and of_all[1] + of_all[2] + all_tokens > tokens_cap_all then
    return { 'no', 'tokens_per_day_global' }
  end
  if micro_cap_all > 0 and of_all[3] + of_all[4] + all_micro > micro_cap_all then
    return { 'no', 'usd_per_day_global' }
  end
end

if not entry then
  redis.call('ZADD', open, int(now + check_us), member)
  redis.call('EXPIRE', open, keep_s)
end
if was_mine or mine then
  hold(spend, user_tokens, user_micro)
end
if was_all or all then
  hold(spend_all, all_tokens, all_micro)
end
write_entry(entries, task, to_tokens, to_micro, mine or was_mine, all or was_all, keep_s)
return { 'ok' }

-- A task has ended: drop its open entry, slot and reservation and add what it used. Only the first call finds the
-- entry, so a repeat changes nothing. Reply: 1 when the user has open tasks without a slot (parked ones), the time, and
-- whose day's use has come to a threshold of a ceiling that nobody has seen to; these stand in `alerts` until then.

local open, entries, slots, spend, spend_all, done, spend_service, owners, deadlines, alerts = unpack(KEYS)
local now = clock(ARGV[1])
local day = string.match(ARGV[3], '^%S+')
local task, member, tokens, micro, done_s = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]

local capped = redis.call('ZREM', slots, task) == 1
redis.call('ZREM', open, member)
lane_leave(lanes_of(KEYS, 11), task)
if done_s ~= '0' then -- 0: it only waits, and comes back
  redis.call('ZREM', deadlines, task)
  redis.call('SET', done, 1, 'EX', done_s) -- a late worker's reservation does not bring the entry back
end
local entry = redis.call('HGET', entries, task)
if entry then
  local held_tokens, held_micro, mine, all, service = read_entry(entry)
  redis.call('HDEL', entries, task)
  count_open(owners, member, -1)
  if mine then
    unhold(spend, held_tokens, held_micro, tokens, micro)
  end
  if all then
    unhold(spend_all, held_tokens, held_micro, tokens, micro)
  end
  if service then
    unhold(spend_service, held_tokens, held_micro, tokens, micro)
  end
end
local reply = { 0, int(now) }
local function passed(used, told, cap)
  for n = 16, #ARGV do
    local threshold = tonumber(ARGV[n])
    if cap > 0 and threshold > tonumber(told or 0) and tonumber(used) * 100 >= cap * threshold then
      return true
    end
  end
  return false
end
for n, key in ipairs({ spend, spend_all, spend_service }) do
  local whose, cap_tokens, cap_micro = ARGV[4 + 3 * n], tonumber(ARGV[5 + 3 * n]), tonumber(ARGV[6 + 3 * n])
  if cap_tokens > 0 or cap_micro > 0 then
    local v = redis.call('HMGET', key, 'at', 'tu', 'mu', 'alert_t', 'alert_m')
    -- without figures, which Valkey may have lost, nobody knows
    if not v[1] or passed(v[2], v[4], cap_tokens) or passed(v[3], v[5], cap_micro) then
      redis.call('ZADD', alerts, int(now), day .. ' ' .. whose)
      reply[#reply + 1] = whose
    end
  end
end
local running = redis.call('ZCOUNT', slots, '(' .. int(now), '+inf')
-- Where no slot is or was held, only a repeat (the entry is gone) can concern a user with a running cap.
if (capped or running > 0 or not entry) and redis.call('HLEN', entries) > running then
  reply[1] = 1
end
return reply

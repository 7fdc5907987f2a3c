-- A task has ended: drop its open entry, slot and reservation and add what it used. Only the first call finds the
-- entry, so a repeat changes nothing. Reply: 1 when the user has open tasks without a slot (parked ones).

local open, entries, slots, spend, spend_all, done, spend_service, owners, deadlines = unpack(KEYS)
local now = clock(ARGV[1])
local task, member, tokens, micro, done_s = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]

local capped = redis.call('ZREM', slots, task) == 1
redis.call('ZREM', open, member)
lane_leave(lanes_of(KEYS, 10), task)
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
local running = redis.call('ZCOUNT', slots, '(' .. int(now), '+inf')
-- Where no slot is or was held, only a repeat (the entry is gone) can concern a user with a running cap.
if (capped or running > 0 or not entry) and redis.call('HLEN', entries) > running then
  return 1
end
return 0

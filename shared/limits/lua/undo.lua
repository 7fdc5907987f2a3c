-- Take an admission back as if it had never been: the task's row could not be written. A repeat changes nothing.

local ingress, open, log, entries, slots, spend, spend_all, spend_service, owners, ingress_owners, deadlines = unpack(KEYS)
local task, member, interval = ARGV[1], ARGV[2], tonumber(ARGV[3])

local entry = redis.call('HGET', entries, task)
if not entry then
  return 0
end
local tokens, micro, mine, all, service = read_entry(entry)
redis.call('HDEL', entries, task)
redis.call('ZREM', open, member)
redis.call('ZREM', log, task)
redis.call('ZREM', slots, task)
redis.call('ZREM', deadlines, task)
count_open(owners, member, -1)
lane_leave(lanes_of(KEYS, 12), task)
if mine then
  unhold(spend, tokens, micro, 0, 0)
end
if all then
  unhold(spend_all, tokens, micro, 0, 0)
end
if service then
  unhold(spend_service, tokens, micro, 0, 0)
end
local tat = interval > 0 and redis.call('GET', ingress)
if tat then
  redis.call('SET', ingress, int(tonumber(tat) - interval), 'KEEPTTL')
  redis.call('ZINCRBY', ingress_owners, int(-interval), owner_of_member(member))
end
return 1

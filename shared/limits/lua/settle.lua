-- A task has ended: drop its open entry, slot and reservation and add what it used. Only the first call finds the
-- entry, so a repeat changes nothing.

local open, entries, slots, spend, spend_all, done = unpack(KEYS)
local task, member, tokens, micro, done_s = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]

redis.call('ZREM', slots, task)
redis.call('ZREM', open, member)
redis.call('SET', done, 1, 'EX', done_s) -- a late worker's reservation does not bring the entry back
local entry = redis.call('HGET', entries, task)
if not entry then
  return 0
end
local held_tokens, held_micro, mine, all = read_entry(entry)
redis.call('HDEL', entries, task)
if mine then
  unhold(spend, held_tokens, held_micro, tokens, micro)
end
if all then
  unhold(spend_all, held_tokens, held_micro, tokens, micro)
end
return 1

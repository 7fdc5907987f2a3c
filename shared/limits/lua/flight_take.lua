-- Take over what was under way in a claim that lapsed. KEYS: its hash, then those of the claims before it; ARGV: what the
-- run's row says that it used, and how long it is kept (ms). Reply: for each key its note and what the row said when that
-- was taken, '' where there is none. A repeat changes nothing.
local found = {}
for n, key in ipairs(KEYS) do
  local note, taken = redis.call('HGET', key, 'note'), redis.call('HGET', key, 'taken')
  found[#found + 1] = note or ''
  found[#found + 1] = taken or ''
  if n == 1 and note and not taken then
    redis.call('HSET', key, 'taken', ARGV[1])
    redis.call('PEXPIRE', key, ARGV[2])
  end
end
return found

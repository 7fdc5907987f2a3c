-- Take back the note of a claim whose worker charges its calls itself, unless another has taken it. KEYS: its hash; ARGV:
-- how long that is kept (ms). Reply: the note, if it was taken; else ''. A repeat changes nothing.
local note, taken = redis.call('HGET', KEYS[1], 'note'), redis.call('HGET', KEYS[1], 'taken')
if taken and taken ~= 'withdrawn' then
  return note or ''
end
redis.call('HSET', KEYS[1], 'taken', 'withdrawn')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return ''

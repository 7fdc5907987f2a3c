-- Take a connection off a task's watchers. KEYS: the watchers, this caller's mark. ARGV: connection, seconds that the mark
-- is kept. Reply: 1 for the one caller that did it, also when it asks again because the answer came late.

if redis.call('HDEL', KEYS[1], ARGV[1]) == 1 then
  redis.call('SET', KEYS[2], '1', 'EX', ARGV[2])
  return 1
end
return redis.call('EXISTS', KEYS[2])

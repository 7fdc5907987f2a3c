-- Take a request's mark back, which made nothing, and say again what stood there before. Another's mark, or what was
-- made meanwhile, stays. A repeat changes nothing.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
end
return 1

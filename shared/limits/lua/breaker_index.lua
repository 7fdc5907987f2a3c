-- Names of breakers with news of the last day.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', int(clock(ARGV[1]) - tonumber(ARGV[2]) * 1000000))
return redis.call('ZRANGE', KEYS[1], 0, 999)

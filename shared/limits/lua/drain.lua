-- Note that an environment takes no more work, or soon will not. KEYS: draining. ARGV: now, `lane id`, its free slots, for
-- how many seconds the notes of all are kept.

redis.call('HSET', KEYS[1], ARGV[2], int(clock(ARGV[1])) .. ':' .. ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])

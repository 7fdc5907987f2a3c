-- Free a task's running slot; it waits in no lane either.
lane_leave(lanes_of(KEYS, 2), ARGV[1])
return redis.call('ZREM', KEYS[1], ARGV[1])

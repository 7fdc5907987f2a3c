-- Free a task's running slot.
return redis.call('ZREM', KEYS[1], ARGV[1])

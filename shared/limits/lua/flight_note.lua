-- Note which calls of some runs are under way. KEYS: a hash for each claim of a run; ARGV: how long it is kept (ms), then
-- the text for each key, '' when there is nothing to be noted any more. What was taken over is left as it is.
for n, key in ipairs(KEYS) do
  if redis.call('HEXISTS', key, 'taken') == 0 then
    local text = ARGV[n + 1]
    if text == '' then
      redis.call('DEL', key)
    else
      redis.call('HSET', key, 'note', text)
      redis.call('PEXPIRE', key, ARGV[1])
    end
  end
end
return #KEYS

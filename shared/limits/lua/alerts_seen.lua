-- A day was looked at for alerts: note up to which thresholds, and take its entry away, unless there is a newer one.

local alerts, spend = unpack(KEYS)
local member, noted, tokens, micro = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

if redis.call('HEXISTS', spend, 'at') == 1 then -- without figures there is nothing to compare with
  for field, threshold in pairs({ alert_t = tokens, alert_m = micro }) do
    if threshold > tonumber(redis.call('HGET', spend, field) or 0) then
      redis.call('HSET', spend, field, threshold)
    end
  end
end
local score = redis.call('ZSCORE', alerts, member)
if score and tonumber(score) <= noted then
  redis.call('ZREM', alerts, member)
end
return 0

"""Redis scripts: what must happen to a stream in one piece.

Owns:      the Lua that runs in the server; bounded work a call.
Called by: adapters.redis_bus.link and adapters.redis_bus.bus.
Source:    ECOSYSTEM.md section 9, REVOCATION.md sections 3 and 5. Redis has no life of
           its own for an entry and no bound that refuses: both are kept here, beside
           the stream, and change together with it.
"""

__all__ = ["MAKE", "PUBLISH"]

# KEYS: stream, account, due. ARGV: the name of a stream that has to be made.
# An empty stream exists only through a group, which nobody uses.
MAKE = """
local made = redis.call('HGET', KEYS[2], 'made')
if redis.call('EXISTS', KEYS[1]) == 1 then
  if made then return made end
  return redis.error_reply('FOREIGN ' .. KEYS[1] .. ' was not made by a gateway')
end
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('XGROUP', 'CREATE', KEYS[1], 'none', '0', 'MKSTREAM')
redis.call('XGROUP', 'DESTROY', KEYS[1], 'none')
redis.call('HSET', KEYS[2], 'made', ARGV[1], 'bytes', 0)
return ARGV[1]
"""

# KEYS: stream, account, due, once.
# ARGV: name of the stream, publisher, payload, ttl ms, duplicate window ms, max bytes.
# A repeat writes too: WAIT counts the replicas that have the caller's last write.
PUBLISH = """
if redis.call('HGET', KEYS[2], 'made') ~= ARGV[1]
    or redis.call('EXISTS', KEYS[1]) == 0 then
  return redis.error_reply('ANEW')
end
local known = redis.call('GET', KEYS[4])
if known then
  redis.call('PEXPIRE', KEYS[4], ARGV[5])
  return known
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local bytes = tonumber(redis.call('HGET', KEYS[2], 'bytes'))
local gone = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 64)
for _, each in ipairs(gone) do
  local position, size = string.match(each, '^(%d+):(%d+)$')
  redis.call('XDEL', KEYS[1], '0-' .. position)
  redis.call('ZREM', KEYS[3], each)
  bytes = bytes - size
end
if #gone > 0 then redis.call('HSET', KEYS[2], 'bytes', bytes) end
local size = #ARGV[2] + #ARGV[3] + 96
if bytes + size > tonumber(ARGV[6]) then
  return redis.error_reply('FULL ' .. KEYS[1] .. ' has no room')
end
local id = redis.call('XADD', KEYS[1], '0-*', 'p', ARGV[2], 'd', ARGV[3])
local position = string.sub(id, 3)
redis.call('ZADD', KEYS[3], now + ARGV[4], position .. ':' .. size)
redis.call('HSET', KEYS[2], 'bytes', bytes + size)
redis.call('SET', KEYS[4], position, 'PX', ARGV[5])
return position
"""

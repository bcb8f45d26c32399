//! The scripts that make a write and a heartbeat one step each.

use redis::cmd;

use super::connection::Connection;
use super::reply;
use crate::cluster::engine::EngineError;

/// Writes an app. Keys: app, changes, index. Arguments: name, time, age, delayed, time to live, removed, record, number of chunks, their
/// key, length of the stream, time to live of the chunks, the revision that is replaced or nothing. Returns the revision, or nothing if a later
/// state is there, or another one than is replaced.
const PUT: &str = "
local old = redis.call('HMGET', KEYS[1], 't', 'c', 'r')
if ARGV[12] ~= '' and old[3] ~= ARGV[12] then
  return nil
end
if ARGV[4] == '1' and old[1] and tonumber(old[1]) >= tonumber(ARGV[2]) then
  return nil
end
local revision = redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[10], '*', 'a', ARGV[1])
if old[2] and old[2] ~= '' then
  redis.call('PEXPIRE', old[2], ARGV[11])
end
redis.call('HSET', KEYS[1], 'r', revision, 't', ARGV[2], 'g', ARGV[3], 'd', ARGV[6], 'v', ARGV[7], 'n', ARGV[8], 'c', ARGV[9])
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local ttl = tonumber(ARGV[5])
local keys = {KEYS[1]}
if ARGV[9] ~= '' then
  keys[2] = ARGV[9]
end
for _, key in ipairs(keys) do
  if ttl > 0 then
    redis.call('PEXPIRE', key, ttl)
  else
    redis.call('PERSIST', key)
  end
end
if ttl > 0 then
  redis.call('ZADD', KEYS[3], now + ttl, ARGV[1])
else
  redis.call('ZADD', KEYS[3], '+inf', ARGV[1])
end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', '(' .. now, 'LIMIT', 0, 100)) do
  redis.call('ZREM', KEYS[3], gone)
end
return revision
";

/// Renews a replica's place among the members, and the lease. Keys: members, about, lease, epoch. Arguments: id, text, time to live, id for
/// an engine without data. Returns the epoch, the owner of the lease, the time, and all members with their texts.
const BEAT: &str = "
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now)) do
  redis.call('ZREM', KEYS[1], gone)
  redis.call('HDEL', KEYS[2], gone)
end
redis.call('SET', KEYS[4], ARGV[4], 'NX')
local owner = redis.call('GET', KEYS[3])
if not owner or owner == ARGV[1] then
  redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[3])
  owner = ARGV[1]
end
return {redis.call('GET', KEYS[4]), owner, string.format('%.0f', now), redis.call('HGETALL', KEYS[2])}
";

/// Removes a replica. Keys: members, about, lease. Arguments: id.
const LEAVE: &str = "
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
if redis.call('GET', KEYS[3]) == ARGV[1] then
  redis.call('DEL', KEYS[3])
end
return 1
";

/// Starts an exchange of events. Keys: epoch of events, hold, events, moves, run. Arguments: id for an engine without data, known epoch, known
/// last event and change, time without leases if they may be lost, the run of the server or nothing. Returns the epoch, the last change, and 1 if
/// they may be lost.
const OPEN_EVENTS: &str = "
redis.call('SET', KEYS[1], ARGV[1], 'NX')
local epoch = redis.call('GET', KEYS[1])
local lost
if ARGV[2] == '' then
  lost = epoch == ARGV[1]
else
  lost = epoch ~= ARGV[2]
  for i = 3, 4 do
    if ARGV[i] ~= '0-0' and #redis.call('XRANGE', KEYS[i], ARGV[i], ARGV[i]) == 0 then
      lost = true
    end
  end
end
if ARGV[6] ~= '' and redis.call('GET', KEYS[5]) ~= ARGV[6] then
  redis.call('SET', KEYS[5], ARGV[6])
  lost = true
end
if lost then
  redis.call('SET', KEYS[2], '1', 'PX', ARGV[5])
else
  lost = redis.call('EXISTS', KEYS[2]) == 1
end
local last = redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', 1)
return {epoch, last[1] and last[1][1] or '0-0', lost and 1 or 0}
";

/// Notes the use of idempotency keys. Keys: none, as their names are made here. Arguments: start of the keys, time to live; then for each its
/// text and the name of the event.
const CLAIM: &str = "
for i = 3, #ARGV, 2 do
  redis.call('SET', ARGV[1] .. ARGV[i], ARGV[i + 1], 'NX', 'PX', ARGV[2])
end
return 1
";

/// Appends events. Keys: events, tails, hold. Arguments: origin, the last number before them, length of the stream, start of the keys of
/// idempotency keys, their time to live; then for each event its number, its idempotency key, itself, 1 if the engine has had it. Returns the
/// last number.
const APPEND: &str = "
local tail = redis.call('HGET', KEYS[2], ARGV[1]) or '0'
if tail ~= ARGV[2] then
  return tail
end
local held = redis.call('EXISTS', KEYS[3]) == 1
for i = 6, #ARGV, 4 do
  local bytes = ARGV[i + 2]
  if ARGV[i + 1] ~= '' then
    if held and ARGV[i + 3] ~= '1' and redis.call('EXISTS', ARGV[4] .. ARGV[i + 1]) == 0 then
      break
    end
    local name = ARGV[1] .. ':' .. ARGV[i]
    if not redis.call('SET', ARGV[4] .. ARGV[i + 1], name, 'NX', 'PX', ARGV[5]) and redis.call('GET', ARGV[4] .. ARGV[i + 1]) ~= name then
      bytes = ''
    end
  end
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'o', ARGV[1], 'n', ARGV[i], 'e', bytes)
  tail = ARGV[i]
end
if tail ~= '0' then
  redis.call('HSET', KEYS[2], ARGV[1], tail)
end
return tail
";

/// Writes the state of a scraper. Keys: states, versions, changes, lease, last version. Arguments: scraper, expected version, state or nothing, lease to end
/// or nothing, length of the stream of changes. Returns 1 and the new version, or 0 with the version and the state that are there.
const COMPARE_AND_SET: &str = "
local version = redis.call('HGET', KEYS[2], ARGV[1]) or '0'
if version ~= ARGV[2] then
  return {0, version, redis.call('HGET', KEYS[1], ARGV[1]) or ''}
end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[2], ARGV[1])
  version = '0'
else
  version = redis.call('INCR', KEYS[5])
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
  redis.call('HSET', KEYS[2], ARGV[1], version)
end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[5], '*', 's', ARGV[1], 'c', ARGV[3])
if ARGV[4] ~= '' and redis.call('GET', KEYS[4]) == ARGV[4] then
  redis.call('DEL', KEYS[4])
end
return {1, version, ''}
";

/// Takes or renews the lease on the events of a scraper. Keys: lease, hold, states, versions, epoch of events. Arguments: token, time to live,
/// scraper, 1 for a renewal, known epoch. Returns 1 with the version and the state of the scraper, 0 without a lease, 2 for another epoch.
const LEASE: &str = "
if redis.call('GET', KEYS[5]) ~= ARGV[5] then
  return {2, '0', ''}
end
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then
  return {0, '0', ''}
end
if not owner and ARGV[4] ~= '1' and redis.call('EXISTS', KEYS[2]) == 1 then
  return {0, '0', ''}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1, redis.call('HGET', KEYS[4], ARGV[3]) or '0', redis.call('HGET', KEYS[3], ARGV[3]) or ''}
";

/// The ids by which the server calls the scripts.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) put: String,
    pub(super) beat: String,
    pub(super) leave: String,
    pub(super) open_events: String,
    pub(super) claim: String,
    pub(super) append: String,
    pub(super) compare_and_set: String,
    pub(super) lease: String,
}

/// Has the server remember the scripts. It forgets them with a restart, which ends the connection as well.
pub(super) async fn load(connection: &Connection) -> Result<Loaded, EngineError> {
    let load = async |script: &str| reply::text(connection.ask(cmd("SCRIPT").arg("LOAD").arg(script.trim())).await?);
    Ok(Loaded {
        put: load(PUT).await?,
        beat: load(BEAT).await?,
        leave: load(LEAVE).await?,
        open_events: load(OPEN_EVENTS).await?,
        claim: load(CLAIM).await?,
        append: load(APPEND).await?,
        compare_and_set: load(COMPARE_AND_SET).await?,
        lease: load(LEASE).await?,
    })
}

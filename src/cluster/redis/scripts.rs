//! The scripts that make a write and a heartbeat one step each.

use redis::cmd;

use super::connection::Connection;
use super::reply;
use crate::cluster::engine::EngineError;

/// Writes an app. Keys: app, changes, index. Arguments: name, time, age, delayed, time to live, removed, record, number of chunks, their
/// key, length of the stream, time to live of the chunks. Returns the revision, or nothing if a later state is there.
const PUT: &str = "
local old = redis.call('HMGET', KEYS[1], 't', 'c')
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

/// The ids by which the server calls the scripts.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) put: String,
    pub(super) beat: String,
    pub(super) leave: String,
}

/// Has the server remember the scripts. It forgets them with a restart, which ends the connection as well.
pub(super) async fn load(connection: &Connection) -> Result<Loaded, EngineError> {
    let load = async |script: &str| reply::text(connection.ask(cmd("SCRIPT").arg("LOAD").arg(script.trim())).await?);
    Ok(Loaded {
        put: load(PUT).await?,
        beat: load(BEAT).await?,
        leave: load(LEAVE).await?,
    })
}

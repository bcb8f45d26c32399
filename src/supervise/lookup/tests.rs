#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;
use std::sync::{Condvar, Mutex};

use futures_util::poll;
use tokio::runtime::Builder;

use super::*;
use crate::supervise::blocking;

/// A resolver that hangs until it is released.
struct DeadResolver {
    /// Lookups that hang, and whether they may go on.
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl DeadResolver {
    const fn new() -> Self {
        Self {
            state: Mutex::new((0, false)),
            changed: Condvar::new(),
        }
    }

    /// Hangs.
    fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        self.changed.notify_all();
        while !state.1 {
            state = self.changed.wait(state).unwrap();
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Waits until this number of lookups hang. Blocks.
    fn wait_for(&self, hanging: usize) {
        let mut state = self.state.lock().unwrap();
        while state.0 < hanging {
            state = self.changed.wait(state).unwrap();
        }
    }

    fn hanging(&self) -> usize {
        self.state.lock().unwrap().0
    }

    fn release(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

/// Only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Releases the lookups at the end, also of a test that fails: the runtime waits for them.
struct Release(&'static DeadResolver);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Lookups are slow after this time in tests in which none is.
const NEVER: Duration = Duration::from_secs(3_600);

const FOUND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

#[test]
fn lookups_that_hang_leave_threads_to_other_work() {
    static RESOLVER: DeadResolver = DeadResolver::new();
    static POOL: LookupPool = LookupPool {
        usual: Semaphore::const_new(3),
        first: Semaphore::const_new(3),
        slow: Semaphore::const_new(1),
        slow_after: NEVER,
        resolve: |_, _| RESOLVER.resolve(),
    };
    let runtime = Builder::new_current_thread().max_blocking_threads(4).enable_time().build().unwrap();
    let _release = Release(&RESOLVER);
    runtime.block_on(async {
        let mut peers: Vec<PeerLookup> = (0..100).map(|_| PeerLookup::in_pool(&POOL)).collect();
        for peer in &mut peers {
            assert!(poll!(Box::pin(peer.addresses("dead.example", 9))).is_pending());
        }
        blocking(|| RESOLVER.wait_for(3)).await;
        let other = tokio::time::timeout(PATIENCE, blocking(|| 6 * 7)).await;
        assert_eq!(other.expect("a thread is left"), 42);
        assert_eq!((POOL.usual.available_permits(), RESOLVER.hanging()), (0, 3));
    });
}

#[test]
fn a_thread_holds_its_permit_when_no_one_waits_for_it() {
    static RESOLVER: DeadResolver = DeadResolver::new();
    static PERMITS: Semaphore = Semaphore::const_new(1);
    let runtime = Builder::new_current_thread().build().unwrap();
    let _release = Release(&RESOLVER);
    runtime.block_on(async {
        let mut abandoned = Box::pin(resolve(&PERMITS, || RESOLVER.resolve()));
        assert!(poll!(&mut abandoned).is_pending());
        blocking(|| RESOLVER.wait_for(1)).await;
        drop(abandoned);
        let mut next = Box::pin(resolve(&PERMITS, || Ok(vec![FOUND])));
        assert!(poll!(&mut next).is_pending());
        assert_eq!(PERMITS.available_permits(), 0);
        RESOLVER.release();
        assert_eq!(next.await.found.unwrap(), [FOUND]);
    });
}

#[test]
fn a_lookup_that_outlives_its_caller_is_that_of_the_next_one() {
    static RESOLVER: DeadResolver = DeadResolver::new();
    static POOL: LookupPool = LookupPool {
        usual: Semaphore::const_new(8),
        first: Semaphore::const_new(8),
        slow: Semaphore::const_new(8),
        slow_after: NEVER,
        resolve: |_, _| RESOLVER.resolve(),
    };
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let _release = Release(&RESOLVER);
    runtime.block_on(async {
        let mut peer = PeerLookup::in_pool(&POOL);
        for _ in 0..3 {
            assert!(poll!(Box::pin(peer.addresses("dead.example", 9))).is_pending());
        }
        blocking(|| RESOLVER.wait_for(1)).await;
        RESOLVER.release();
        let error = peer.addresses("dead.example", 9).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(RESOLVER.hanging(), 1, "one lookup for all calls");
    });
}

#[test]
fn names_that_were_slow_wait_for_each_other_only() {
    static RESOLVER: DeadResolver = DeadResolver::new();
    static POOL: LookupPool = LookupPool {
        usual: Semaphore::const_new(1),
        first: Semaphore::const_new(1),
        slow: Semaphore::const_new(1),
        // Every lookup is a slow one.
        slow_after: Duration::ZERO,
        resolve: |host, _| match host {
            "dead.example" => RESOLVER.resolve(),
            _ => Ok(vec![FOUND]),
        },
    };
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let _release = Release(&RESOLVER);
    runtime.block_on(async {
        let mut dead = [PeerLookup::in_pool(&POOL), PeerLookup::in_pool(&POOL)];
        for peer in &mut dead {
            assert_eq!(peer.addresses("slow.example", 9).await.unwrap(), [FOUND]);
            assert!(poll!(Box::pin(peer.addresses("dead.example", 9))).is_pending());
        }
        blocking(|| RESOLVER.wait_for(1)).await;
        // Both hang or wait, and the only other permit is free.
        let mut other = PeerLookup::in_pool(&POOL);
        assert_eq!(other.addresses("fine.example", 9).await.unwrap(), [FOUND]);
        assert_eq!((POOL.usual.available_permits(), POOL.slow.available_permits()), (1, 0));
    });
}

#[test]
fn a_lookup_that_turns_out_to_be_slow_leaves_its_place_to_others() {
    static RESOLVER: DeadResolver = DeadResolver::new();
    static POOL: LookupPool = LookupPool {
        usual: Semaphore::const_new(1),
        first: Semaphore::const_new(1),
        slow: Semaphore::const_new(1),
        slow_after: Duration::from_millis(1),
        resolve: |host, _| match host {
            "dead.example" => RESOLVER.resolve(),
            _ => Ok(vec![FOUND]),
        },
    };
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let _release = Release(&RESOLVER);
    runtime.block_on(async {
        let mut dead = [PeerLookup::in_pool(&POOL), PeerLookup::in_pool(&POOL)];
        assert!(poll!(Box::pin(dead[0].addresses("dead.example", 9))).is_pending());
        blocking(|| RESOLVER.wait_for(1)).await;
        // Never looked up before, as the dead one, which has the only place.
        let mut fine = PeerLookup::in_pool(&POOL);
        let found = tokio::time::timeout(PATIENCE, fine.addresses("fine.example", 9)).await;
        assert_eq!(found.expect("the place is free").unwrap(), [FOUND]);
        assert_eq!((POOL.usual.available_permits(), POOL.first.available_permits()), (1, 1));
        // While the place of slow ones is taken, a further one keeps its own.
        assert!(poll!(Box::pin(dead[1].addresses("dead.example", 9))).is_pending());
        blocking(|| RESOLVER.wait_for(2)).await;
        assert_eq!((POOL.usual.available_permits(), POOL.slow.available_permits()), (0, 0));
        // The threads are there without their peers, and the tasks that have waited for them have ended.
        drop(dead);
        blocking(|| ()).await;
        assert_eq!((POOL.usual.available_permits(), POOL.slow.available_permits()), (0, 0));
        RESOLVER.release();
        drop(POOL.slow.acquire().await);
        assert_eq!(fine.addresses("fine.example", 9).await.unwrap(), [FOUND]);
    });
}

#[test]
fn names_that_were_found_do_not_wait_for_new_ones() {
    static RESOLVER: DeadResolver = DeadResolver::new();
    static POOL: LookupPool = LookupPool {
        usual: Semaphore::const_new(2),
        first: Semaphore::const_new(1),
        slow: Semaphore::const_new(0),
        slow_after: NEVER,
        resolve: |host, _| match host {
            "dead.example" => RESOLVER.resolve(),
            _ => Ok(vec![FOUND]),
        },
    };
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let _release = Release(&RESOLVER);
    runtime.block_on(async {
        let mut fine = PeerLookup::in_pool(&POOL);
        assert_eq!(fine.addresses("fine.example", 9).await.unwrap(), [FOUND]);
        let mut dead: Vec<PeerLookup> = (0..10).map(|_| PeerLookup::in_pool(&POOL)).collect();
        for peer in &mut dead {
            assert!(poll!(Box::pin(peer.addresses("dead.example", 9))).is_pending());
        }
        blocking(|| RESOLVER.wait_for(1)).await;
        let found = tokio::time::timeout(PATIENCE, fine.addresses("fine.example", 9)).await;
        assert_eq!(found.expect("a place is left").unwrap(), [FOUND]);
        assert_eq!((POOL.usual.available_permits(), RESOLVER.hanging()), (1, 1));
    });
}

#[tokio::test]
async fn an_address_needs_no_lookup_and_no_thread() {
    static POOL: LookupPool = LookupPool {
        usual: Semaphore::const_new(0),
        first: Semaphore::const_new(0),
        slow: Semaphore::const_new(0),
        slow_after: SLOW,
        resolve: |_, _| panic!("an address is no name"),
    };
    let mut peer = PeerLookup::in_pool(&POOL);
    assert_eq!(peer.addresses("127.0.0.1", 9).await.unwrap(), [FOUND]);
    assert_eq!(peer.addresses_of("127.0.0.1:9").await.unwrap(), [FOUND]);
    assert_eq!(look_up("::1", 9).await.unwrap(), ["[::1]:9".parse().unwrap()]);
    assert_eq!(look_up_host_port("[::1]:9").await.unwrap(), ["[::1]:9".parse().unwrap()]);
}

#[tokio::test]
async fn names_of_this_machine_are_found() {
    let found = look_up_host_port("localhost:9").await.unwrap();
    assert!(
        found.iter().all(|address| address.ip().is_loopback() && address.port() == 9),
        "{found:?}"
    );
    assert!(PeerLookup::default().addresses_of("localhost:9").await.is_ok());
}

#[tokio::test]
async fn a_text_without_a_port_and_a_name_without_addresses_are_errors() {
    static PERMITS: Semaphore = Semaphore::const_new(1);
    for text in ["localhost", "localhost:", "localhost:65536", "localhost:http"] {
        let error = look_up_host_port(text).await.unwrap_err();
        assert_eq!(error.to_string(), "expected HOST:PORT", "{text}");
    }
    let empty = resolve(&PERMITS, || Ok(Vec::new())).await.found.unwrap_err();
    assert_eq!(empty.to_string(), "the name has no address");
}

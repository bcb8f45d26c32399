#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

/// Hash of `secret` at the lowest cost.
const SECRET: &str = "$2b$04$NdtBAEROJw2PmgWIkNLiw.gcPkgCoTsZhYmTrDjN2M7PF100NR./u";

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn users() -> BTreeMap<String, PasswordHash> {
    BTreeMap::from([("alice".to_owned(), PasswordHash::new(SECRET).unwrap())])
}

fn credentials(user: &str, password: &str) -> Credentials {
    Credentials {
        user: user.to_owned(),
        password: password.as_bytes().to_vec(),
    }
}

#[tokio::test]
async fn the_right_password_of_a_known_user_is_granted() {
    let authenticator = Authenticator::new();
    let users = users();
    for (user, password, verdict) in [
        ("alice", "secret", Verdict::Granted),
        ("alice", "secret", Verdict::Granted),
        ("alice", "Secret", Verdict::Denied),
        ("bob", "secret", Verdict::Denied),
        ("", "", Verdict::Denied),
    ] {
        assert_eq!(
            authenticator.check(&users, credentials(user, password), HERE).await,
            verdict,
            "{user} {password}"
        );
    }
    assert_eq!(authenticator.table().granted.order.len(), 1);
    assert_eq!(authenticator.table().denied.order.len(), 3);
    assert!(authenticator.table().pending.is_empty() && authenticator.table().by_address.is_empty());
}

#[tokio::test]
async fn a_result_is_cached_until_the_users_change() {
    let authenticator = Authenticator::new();
    let users = users();
    assert_eq!(
        authenticator.check(&users, credentials("alice", "secret"), HERE).await,
        Verdict::Granted
    );
    // Without permits only the cache can answer.
    let all = u32::try_from(max_checks()).unwrap();
    let held = authenticator.permits.clone().acquire_many_owned(all).await.unwrap();
    assert_eq!(
        authenticator.check(&users, credentials("alice", "secret"), HERE).await,
        Verdict::Granted
    );
    authenticator.forget();
    let again = authenticator.check(&users, credentials("alice", "secret"), HERE);
    tokio::pin!(again);
    assert!(futures_util::poll!(&mut again).is_pending());
    drop(held);
    assert_eq!(again.await, Verdict::Granted);
}

#[tokio::test]
async fn waiting_checks_are_limited_for_an_address_and_for_all() {
    let authenticator = Arc::new(Authenticator::new());
    let users = users();
    let all = u32::try_from(max_checks()).unwrap();
    let held = authenticator.permits.clone().acquire_many_owned(all).await.unwrap();
    let of = |host: usize| IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, u8::try_from(host).unwrap()));
    let check = |password: String, address| {
        let (authenticator, users) = (authenticator.clone(), users.clone());
        tokio::spawn(async move { authenticator.check(&users, credentials("alice", &password), address).await })
    };
    let pending = async |number: usize| {
        while authenticator.table().pending.len() != number {
            tokio::task::yield_now().await;
        }
    };
    let waiting: Vec<_> = (0..MAX_WAITING)
        .map(|number| check(number.to_string(), of(number / MAX_WAITING_OF_ADDRESS)))
        .collect();
    pending(MAX_WAITING).await;
    let refused = Verdict::TooMany(StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(check("one more".to_owned(), of(0)).await.unwrap(), refused);
    let refused = Verdict::TooMany(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(check("one more".to_owned(), of(200)).await.unwrap(), refused);
    // The same credentials share a check, so this one is not refused.
    let same = check("0".to_owned(), of(200));
    // A client that leaves takes its check with it.
    waiting.last().unwrap().abort();
    pending(MAX_WAITING - 1).await;
    drop(held);
    assert_eq!(same.await.unwrap(), Verdict::Denied);
    for check in waiting.into_iter().take(MAX_WAITING - 1) {
        assert_eq!(check.await.unwrap(), Verdict::Denied);
    }
    assert!(authenticator.table().pending.is_empty() && authenticator.table().by_address.is_empty());
}

#[test]
fn the_cache_is_bounded() {
    let mut recent = Recent::default();
    for number in 0..2 * MAX_CACHED {
        let mut digest = Digest::default();
        digest[..8].copy_from_slice(&number.to_be_bytes());
        recent.insert(digest);
    }
    assert_eq!((recent.known.len(), recent.order.len()), (MAX_CACHED, MAX_CACHED));
    assert!(!recent.contains(&Digest::default()));
}

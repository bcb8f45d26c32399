#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;

fn sender(client: &str, login: Login) -> Sender {
    Sender {
        client: Client::Ip(client.parse().unwrap()),
        uid: None,
        certificate_names: [].into(),
        login,
    }
}

fn user(name: &str) -> Login {
    Login::User(name.into())
}

fn networks(list: &[&str]) -> Vec<IpNet> {
    list.iter().map(|network| network.parse().unwrap()).collect()
}

fn rule(identity: Identity, roles: &[Role], apps: &[&str]) -> AccessRule {
    AccessRule {
        identity,
        roles: roles.to_vec(),
        apps: apps.iter().map(|pattern| AppPattern::new(pattern)).collect(),
    }
}

fn need(role: Role, app: Option<&str>) -> Need<'_> {
    Need { role: Some(role), app }
}

const ANY: Need<'_> = Need { role: None, app: None };

fn tables() -> AccessRules {
    let token = Identity::TokenFile(Path::new("/etc/team.token").into());
    AccessRules::of_tables(vec![
        rule(Identity::User("alice".into()), &[Role::Scrape, Role::Read], &[]),
        rule(token, &[Role::Push, Role::Read, Role::Admin], &["team-a-*"]),
        rule(Identity::San("prometheus.example".into()), &[Role::Scrape], &[]),
        rule(Identity::Networks(networks(&["10.0.0.0/8"])), &[Role::Event], &[]),
        rule(Identity::Uid(1_000), &[Role::Push], &[]),
    ])
}

#[test]
fn the_simple_form_knows_networks_alone() {
    let rules = AccessRules::of_networks(networks(&["10.0.0.0/8"]), networks(&["10.1.0.0/16"]));
    for (client, role, granted) in [
        ("192.0.2.1", Role::Scrape, true),
        ("192.0.2.1", Role::Read, true),
        ("192.0.2.1", Role::Push, false),
        ("10.2.0.1", Role::Push, true),
        ("10.2.0.1", Role::Admin, true),
        ("10.2.0.1", Role::Event, false),
        ("10.1.0.1", Role::Event, true),
    ] {
        assert_eq!(
            rules.check(&sender(client, Login::None), need(role, None)).is_ok(),
            granted,
            "{client} {role}"
        );
    }
    let refused = rules
        .check(&sender("192.0.2.1", user("alice")), need(Role::Event, None))
        .unwrap_err();
    assert_eq!(refused.text, "192.0.2.1 is not allowed to post events; add it to events.post_from");
    assert_eq!(
        (refused.identity.as_str(), refused.basic, refused.bearer),
        ("user:alice", false, false)
    );
    assert_eq!(rules.check(&sender("192.0.2.1", Login::None), ANY), Ok(()));
}

#[test]
fn each_identity_has_the_roles_of_its_tables_and_no_others() {
    let token = Login::Token(vec![Path::new("/etc/team.token").into()]);
    let other = Login::Token(vec![Path::new("/etc/other.token").into()]);
    let unknown = "192.0.2.1";
    let mut named = sender(unknown, Login::None);
    named.certificate_names = ["x".to_owned(), "prometheus.example".to_owned()].into();
    let mut local = sender("127.0.0.1", Login::None);
    local.uid = Some(1_000);
    let team = Some("team-a-web");
    let cases = [
        (sender(unknown, user("alice")), need(Role::Scrape, None), true),
        (sender(unknown, user("alice")), need(Role::Read, Some("x")), true),
        (sender(unknown, user("alice")), need(Role::Push, Some("x")), false),
        (sender(unknown, user("alicia")), need(Role::Scrape, None), false),
        (sender(unknown, token.clone()), need(Role::Push, team), true),
        (sender(unknown, token.clone()), need(Role::Admin, team), true),
        (sender(unknown, token.clone()), need(Role::Push, Some("team-b")), false),
        // Neither listings nor a reload are about the apps of a team.
        (sender(unknown, token.clone()), need(Role::Read, None), false),
        (sender(unknown, token.clone()), need(Role::Admin, None), false),
        (sender(unknown, token), need(Role::Scrape, team), false),
        (sender(unknown, other), need(Role::Push, team), false),
        (named.clone(), need(Role::Scrape, None), true),
        (named, need(Role::Read, None), false),
        (sender("10.1.2.3", Login::None), need(Role::Event, None), true),
        (sender("10.1.2.3", Login::None), need(Role::Scrape, None), false),
        (sender("10.1.2.3", user("alice")), need(Role::Event, None), true),
        (local.clone(), need(Role::Push, Some("x")), true),
        (local, need(Role::Event, None), false),
        (sender(unknown, Login::None), need(Role::Scrape, None), false),
        // A path without a route.
        (sender("10.1.2.3", Login::None), ANY, true),
        (sender(unknown, user("alicia")), ANY, false),
    ];
    for (sender, need, granted) in cases {
        assert_eq!(tables().check(&sender, need).is_ok(), granted, "{sender:?} {need:?}");
    }
}

#[test]
fn a_refusal_names_the_role_and_the_credentials_that_help() {
    let refuse = |login, need| tables().check(&sender("192.0.2.1", login), need).unwrap_err();
    let nothing = refuse(Login::None, need(Role::Scrape, None));
    assert_eq!(
        (nothing.basic, nothing.bearer, nothing.identity.as_str()),
        (true, false, "anonymous")
    );
    assert_eq!(
        nothing.text,
        "this request needs credentials that have the role scrape ([[http.access]])"
    );
    let push = refuse(Login::None, need(Role::Push, Some("team-a-1")));
    assert_eq!((push.basic, push.bearer), (false, true));
    // No table with a user or a token grants it.
    let other = refuse(Login::None, need(Role::Push, Some("team-b")));
    assert_eq!((other.basic, other.bearer), (false, false));
    assert_eq!(
        other.text,
        "anonymous does not have the role push for the app \"team-b\"; grant it in [[http.access]]"
    );
    let event = refuse(user("alice"), need(Role::Event, None));
    assert_eq!((event.basic, event.bearer), (false, false), "its credentials are valid");
    assert_eq!(event.text, "user:alice does not have the role event; grant it in [[http.access]]");
    let listing = refuse(Login::Token(vec![Path::new("/etc/team.token").into()]), need(Role::Read, None));
    assert_eq!(
        listing.text,
        "token_file:/etc/team.token does not have the role read for all apps, only for team-a-*; grant it in [[http.access]]"
    );
    assert!(refuse(Login::None, ANY).text.contains("any role"));
}

#[test]
fn the_peer_of_a_link_reads_and_no_more() {
    let link = Sender {
        client: Client::Link("key".into()),
        ..sender("127.0.0.1", Login::None)
    };
    for rules in [tables(), AccessRules::default()] {
        assert!(rules.check(&link, need(Role::Scrape, None)).is_ok());
        assert!(rules.check(&link, need(Role::Read, None)).is_ok());
        assert!(rules.check(&link, ANY).is_ok());
        for role in [Role::Push, Role::Event, Role::Admin] {
            assert!(rules.check(&link, need(role, Some("team-a-1"))).is_err(), "{role}");
        }
    }
}

#[test]
fn an_identity_is_the_strongest_that_a_sender_has() {
    let authenticated = |sender: &Sender| tables().authenticated(sender).map(|identity| identity.to_string());
    let mut sender = sender("10.0.0.1", Login::None);
    assert_eq!(authenticated(&sender), None, "an address is no proof");
    sender.uid = Some(1);
    assert_eq!(authenticated(&sender), None, "no table has this user id");
    sender.uid = Some(1_000);
    assert_eq!(authenticated(&sender).as_deref(), Some("uid:1000"));
    sender.certificate_names = ["prometheus.example".to_owned()].into();
    assert_eq!(authenticated(&sender).as_deref(), Some("san:prometheus.example"));
    sender.login = user("bob");
    assert_eq!(authenticated(&sender).as_deref(), Some("user:bob"));
}

fn any_identity() -> impl Strategy<Value = Identity> {
    prop_oneof![
        prop::sample::select(vec!["alice", "bob"]).prop_map(|name| Identity::User(name.into())),
        Just(Identity::Uid(7)),
        Just(Identity::Networks(networks(&["10.0.0.0/8"]))),
        Just(Identity::Anonymous),
    ]
}

fn any_role() -> impl Strategy<Value = Role> {
    prop::sample::select(Role::NAMES.map(|(_, role)| role).to_vec())
}

fn any_rule() -> impl Strategy<Value = AccessRule> {
    let apps = prop::collection::vec(prop::sample::select(vec!["a*", "b"]), 0..2);
    (any_identity(), prop::collection::vec(any_role(), 1..3), apps).prop_map(|(identity, roles, apps)| rule(identity, &roles, &apps))
}

proptest! {
    /// A further table never takes a right away, and a right never comes from a table of another identity.
    #[test]
    fn tables_add_up(
        rules in prop::collection::vec(any_rule(), 0..5),
        further in any_rule(),
        role in any_role(),
        app in prop::option::of(prop::sample::select(vec!["a1", "b", "c"])),
        name in prop::option::of(prop::sample::select(vec!["alice", "bob"])),
        client in prop::sample::select(vec!["10.0.0.1", "192.0.2.1"]),
    ) {
        let sender = sender(client, name.map_or(Login::None, user));
        let need = need(role, app);
        let before = AccessRules::of_tables(rules.clone()).check(&sender, need);
        let alone = AccessRules::of_tables(vec![further.clone()]).check(&sender, need);
        let after = AccessRules::of_tables(rules.into_iter().chain([further]).collect()).check(&sender, need);
        prop_assert_eq!(after.is_ok(), before.is_ok() || alone.is_ok());
    }
}

//! `[[http.access]]`: the roles of identities.

use super::endpoint::show_table;
use super::http::NETWORKS;
use super::key::{FaultSink, ValueType};
use super::raw::{Node, Value, quoted};
use super::reader::Section;
use super::value_types::{Bool, FilePath, IntegerRange, ListOf, OneOf, Parsed};
use crate::http::{AccessRule, AppPattern, Identity, Role};
use crate::model::MAX_APP_NAME_BYTES;

/// A decision looks at each table.
pub(super) const MAX_TABLES: usize = 1_000;

/// The keys of identities.
const IDENTITIES: &str = "\"user\", \"token_file\", \"san\", \"networks\", \"uid\" and \"anonymous\"";

/// One table.
pub(super) struct AccessRuleType;

impl ValueType for AccessRuleType {
    type Value = AccessRule;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<AccessRule> {
        let at = node.at.clone();
        match node.value {
            Value::Table(table) => Section::inner(faults.notes, "[[http.access]]", table, at, read_table),
            _ => faults.expected(&node, "a table such as { user = \"alice\", roles = [\"scrape\"] }"),
        }
    }

    fn show(&self, rule: &AccessRule) -> String {
        let list = |items: Vec<String>| format!("[{}]", items.join(", "));
        let (key, value) = match &rule.identity {
            Identity::User(name) => ("user", format!("{name:?}")),
            Identity::TokenFile(path) => ("token_file", format!("{path:?}")),
            Identity::San(name) => ("san", format!("{name:?}")),
            Identity::Networks(networks) => ("networks", NETWORKS.show(networks)),
            Identity::Uid(uid) => ("uid", uid.to_string()),
            Identity::Anonymous => ("anonymous", "true".to_owned()),
        };
        let roles = list(rule.roles.iter().map(|role| format!("\"{role}\"")).collect());
        let apps = list(rule.apps.iter().map(|pattern| format!("{:?}", pattern.as_str())).collect());
        let fields = [(key, value), ("roles", roles), ("apps", apps)];
        let has_apps = !rule.apps.is_empty();
        show_table(
            fields
                .iter()
                .filter(|(key, _)| has_apps || *key != "apps")
                .map(|(key, shown)| (*key, shown.as_str())),
        )
    }
}

fn read_table(t: &mut Section<'_>) -> Option<AccessRule> {
    let user = t.reloadable("user").optional(NAME).map(|name| Identity::User(name.into()));
    let token_file = t.reloadable("token_file").optional(FilePath);
    let san = t.reloadable("san").optional(NAME).map(|name| Identity::San(name.into()));
    let networks = t.reloadable("networks").optional(NotEmpty(NETWORKS));
    let uid = t.reloadable("uid").optional(IntegerRange(0..=u32::MAX as usize));
    let anonymous = t.reloadable("anonymous").optional(Bool);
    let roles = t.reloadable("roles").required(ROLES);
    let apps = t.reloadable("apps").or(Vec::new(), APPS);
    t.require(&["anonymous"], anonymous != Some(false), || {
        "\"anonymous\" in [[http.access]] must be true; remove the table to grant nothing".to_owned()
    });
    let has_event = roles.as_ref().is_some_and(|roles| roles.contains(&Role::Event));
    t.require(&["apps", "roles"], apps.is_empty() || !has_event, || {
        "the role \"event\" cannot be limited to \"apps\", because events belong to none; grant it in a table of its own".to_owned()
    });
    let identities = [
        user,
        token_file.map(|path| Identity::TokenFile(path.into())),
        san,
        networks.map(Identity::Networks),
        uid.and_then(|uid| u32::try_from(uid).ok()).map(Identity::Uid),
        anonymous.map(|_| Identity::Anonymous),
    ];
    let keys = ["user", "token_file", "san", "networks", "uid", "anonymous"];
    let given = t
        .entries
        .iter()
        .filter(|entry| keys.contains(&entry.key) && entry.place.is_some())
        .count();
    t.require(&keys, given == 1, || {
        format!("[[http.access]] needs exactly one of {IDENTITIES}; this table has {given}")
    });
    let mut identities = identities.into_iter().flatten();
    Some(AccessRule {
        identity: identities.next()?,
        roles: roles?,
        apps,
    })
}

/// The tables, in the order of the file.
pub(super) const TABLES: ListOf<AccessRuleType> = ListOf {
    item: AccessRuleType,
    expected: "tables such as [[http.access]] with user = \"alice\" and roles = [\"scrape\"]",
    or_single: false,
};

const NAME: Parsed<String> = Parsed {
    expected: "a name",
    parse: |name| match name.is_empty() {
        true => Err("the name is empty".to_owned()),
        false => Ok(name.to_owned()),
    },
};

const ROLES: NotEmpty<ListOf<OneOf<Role>>> = NotEmpty(ListOf {
    item: OneOf(&Role::NAMES),
    expected: "a list of roles such as [\"scrape\", \"read\"]",
    or_single: false,
});

const APPS: ListOf<Parsed<AppPattern>> = ListOf {
    item: Parsed {
        expected: "a pattern of app names",
        parse: |text| {
            if text.is_empty() || text.len() > MAX_APP_NAME_BYTES {
                return Err(format!("{} is not 1 to {MAX_APP_NAME_BYTES} bytes long", quoted(text)));
            }
            Ok(AppPattern::new(text))
        },
    },
    expected: "a list of app names such as [\"team-a-*\"]",
    or_single: false,
};

/// A list with at least one item.
struct NotEmpty<K>(K);

impl<T, K: ValueType<Value = Vec<T>>> ValueType for NotEmpty<K> {
    type Value = Vec<T>;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<Vec<T>> {
        if matches!(&node.value, Value::List(items) if items.is_empty()) {
            return faults.at(&node.at, "the list is empty");
        }
        self.0.read(node, faults)
    }

    fn show(&self, value: &Vec<T>) -> String {
        self.0.show(value)
    }
}

//! The decision on a request: identities, roles, and the rules that grant them. Pure.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;

use super::pattern::AppPattern;
use crate::http::Client;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Metrics: those of all apps, of one app, and one-shot events with them.
    Scrape,
    /// Replacing the metrics of an app.
    Push,
    /// Posting one-shot events.
    Event,
    /// Listings: apps, targets, pending events, aliases, the status page.
    Read,
    /// Deleting, reloading, stopping.
    Admin,
}

impl Role {
    /// All roles with their names in the configuration.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("scrape", Self::Scrape),
        ("push", Self::Push),
        ("event", Self::Event),
        ("read", Self::Read),
        ("admin", Self::Admin),
    ];

    /// The name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scrape => "scrape",
            Self::Push => "push",
            Self::Event => "event",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }

    /// The verb in a refusal.
    const fn verb(self) -> &'static str {
        match self {
            Self::Scrape => "scrape",
            Self::Push => "push",
            Self::Event => "post events",
            Self::Read => "read",
            Self::Admin => "delete apps or aliases, reload or stop",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The property of a sender by which a rule applies to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A user of the web configuration file who sent the right password.
    User(Arc<str>),
    /// The bearer token in this file.
    TokenFile(Arc<Path>),
    /// A subject alternative name of a verified client certificate.
    San(Arc<str>),
    /// An address in one of these networks.
    Networks(Vec<IpNet>),
    /// The user id of the peer of a Unix socket.
    Uid(u32),
    /// Every sender.
    Anonymous,
}

impl Identity {
    /// Returns true if the sender has shown a credential or the kernel vouches for it: an address and nothing at all do not name a sender.
    const fn is_authenticated(&self) -> bool {
        matches!(self, Self::User(_) | Self::TokenFile(_) | Self::San(_) | Self::Uid(_))
    }

    fn applies_to(&self, sender: &Sender) -> bool {
        match (self, &sender.login) {
            (Self::User(user), Login::User(name)) => user == name,
            (Self::TokenFile(file), Login::Token(files)) => files.contains(file),
            (Self::User(_) | Self::TokenFile(_), _) => false,
            (Self::San(name), _) => sender.certificate_names.iter().any(|found| **found == **name),
            (Self::Networks(networks), _) => sender.client.is_in(networks),
            (Self::Uid(uid), _) => sender.uid == Some(*uid),
            (Self::Anonymous, _) => true,
        }
    }
}

/// As in metrics, log lines and names of scrapers: `user:alice`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "user:{name}"),
            Self::TokenFile(path) => write!(f, "token_file:{}", path.display()),
            Self::San(name) => write!(f, "san:{name}"),
            Self::Networks(networks) => {
                f.write_str("networks:")?;
                for (n, network) in networks.iter().enumerate() {
                    write!(f, "{}{network}", if n == 0 { "" } else { "," })?;
                }
                Ok(())
            }
            Self::Uid(uid) => write!(f, "uid:{uid}"),
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}

/// The credentials of a request, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Login {
    /// None were sent, or of a kind that nothing in the configuration asks for.
    #[default]
    None,
    /// A user with the right password.
    User(Arc<str>),
    /// A bearer token: that of these files.
    Token(Vec<Arc<Path>>),
}

/// Everything that is known of the sender of a request; an extension of every request.
#[derive(Debug, Clone)]
pub struct Sender {
    /// The effective client.
    pub client: Client,
    /// The user id of the peer of a Unix socket.
    pub uid: Option<u32>,
    /// The subject alternative names of its verified certificate.
    pub certificate_names: Arc<[String]>,
    /// The checked credentials.
    pub login: Login,
}

/// Roles for one identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRule {
    /// The senders to which it applies.
    pub identity: Identity,
    /// The granted roles.
    pub roles: Vec<Role>,
    /// The apps to which the roles are limited; empty: all apps, and requests that are not about one app.
    pub apps: Vec<AppPattern>,
}

impl AccessRule {
    fn grants(&self, need: Need<'_>) -> bool {
        need.role.is_none_or(|role| self.roles.contains(&role)) && (need.role.is_none() || self.covers(need.app))
    }

    fn covers(&self, app: Option<&str>) -> bool {
        self.apps.is_empty() || app.is_some_and(|app| self.apps.iter().any(|pattern| pattern.matches(app)))
    }
}

/// The permission that a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need<'a> {
    /// None: any role, as for a path that does not exist.
    pub role: Option<Role>,
    /// The only app that the request is about; none if it is about more than one.
    pub app: Option<&'a str>,
}

/// The origin of the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// `http.write_from` and `events.post_from`.
    Networks,
    /// `[[http.access]]`.
    Tables,
}

/// All rules in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRules {
    source: Source,
    rules: Vec<AccessRule>,
}

/// Nothing may write.
impl Default for AccessRules {
    fn default() -> Self {
        Self::of_networks(Vec::new(), Vec::new())
    }
}

impl AccessRules {
    /// The simple form: everyone may scrape and read, the clients in `write_from` may push and administrate, those in `post_from` may post
    /// events. Where the web configuration file has users, each request needs one besides.
    #[must_use]
    pub fn of_networks(write_from: Vec<IpNet>, post_from: Vec<IpNet>) -> Self {
        let rule = |identity, roles: &[Role]| AccessRule {
            identity,
            roles: roles.to_vec(),
            apps: Vec::new(),
        };
        Self {
            source: Source::Networks,
            rules: vec![
                rule(Identity::Networks(write_from), &[Role::Push, Role::Admin]),
                rule(Identity::Networks(post_from), &[Role::Event]),
                rule(Identity::Anonymous, &[Role::Scrape, Role::Read]),
            ],
        }
    }

    /// The tables of the configuration: what none grants is refused.
    #[must_use]
    pub const fn of_tables(rules: Vec<AccessRule>) -> Self {
        Self {
            source: Source::Tables,
            rules,
        }
    }

    /// Returns true if the rules come from tables. Otherwise each request needs a user where the web configuration file has any.
    #[must_use]
    pub fn are_tables(&self) -> bool {
        self.source == Source::Tables
    }

    /// The identities, one for each rule.
    pub fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.rules.iter().map(|rule| &rule.identity)
    }

    /// The files of bearer tokens.
    pub fn token_files(&self) -> impl Iterator<Item = &Arc<Path>> {
        self.identities().filter_map(|identity| match identity {
            Identity::TokenFile(file) => Some(file),
            _ => None,
        })
    }

    /// Decides on a request.
    ///
    /// # Errors
    ///
    /// The refusal, if no rule that applies to the sender grants what the request needs.
    pub fn check(&self, sender: &Sender, need: Need<'_>) -> Result<(), AccessDenied> {
        // The peer of a link is authenticated by its key, and only the routes that read are served there.
        if matches!(sender.client, Client::Link(_)) && !matches!(need.role, Some(Role::Push | Role::Event | Role::Admin)) {
            return Ok(());
        }
        let mut applying = self.rules.iter().filter(|rule| rule.identity.applies_to(sender));
        if applying.any(|rule| rule.grants(need)) {
            return Ok(());
        }
        let role = need.role.map_or("any role".to_owned(), |role| format!("the role {role}"));
        let identity = self.identity_of(sender).to_string();
        let (basic, bearer) = self.schemes_that_help(sender, need);
        let text = if self.source == Source::Networks {
            let verb = need.role.map_or("send requests", Role::verb);
            match &sender.client {
                Client::Behind(address) => format!(
                    "{address} is not allowed to {verb} for the client that it forwards for: it is not in http.trusted_proxies, or does \
                     not name that client in X-Forwarded-For"
                ),
                client if need.role == Some(Role::Event) => format!("{client} is not allowed to {verb}; add it to events.post_from"),
                client => format!("{client} is not allowed to {verb}; add it to http.write_from"),
            }
        } else if basic || bearer {
            format!("this request needs credentials that have {role} ([[http.access]])")
        } else {
            let subject = self.subject(sender, need);
            format!("{identity} does not have {role}{subject}; grant it in [[http.access]]")
        };
        Err(AccessDenied {
            identity,
            basic,
            bearer,
            text,
        })
    }

    /// The identity under which a request is counted: the first one that its sender is authenticated by, else the networks, else
    /// `anonymous`.
    fn identity_of(&self, sender: &Sender) -> Identity {
        if let Some(identity) = self.authenticated(sender) {
            return identity;
        }
        let is_network = |identity: &&Identity| matches!(identity, Identity::Networks(_)) && identity.applies_to(sender);
        match self.source {
            Source::Networks => Identity::Anonymous,
            Source::Tables => self.identities().find(is_network).cloned().unwrap_or(Identity::Anonymous),
        }
    }

    /// The identity by which a sender is authenticated: its user or token, else the first rule of a certificate name or user id that
    /// applies to it.
    #[must_use]
    pub fn authenticated(&self, sender: &Sender) -> Option<Identity> {
        match &sender.login {
            Login::User(name) => return Some(Identity::User(Arc::clone(name))),
            Login::Token(files) => {
                if let Some(file) = files.first() {
                    return Some(Identity::TokenFile(Arc::clone(file)));
                }
            }
            Login::None => {}
        }
        let applies = |identity: &&Identity| identity.is_authenticated() && identity.applies_to(sender);
        self.identities().find(applies).cloned()
    }

    /// The schemes of credentials that would get what is refused: Basic and Bearer. None after valid credentials.
    fn schemes_that_help(&self, sender: &Sender, need: Need<'_>) -> (bool, bool) {
        if sender.login != Login::None {
            return (false, false);
        }
        let helps = |wanted: fn(&Identity) -> bool| self.rules.iter().any(|rule| wanted(&rule.identity) && rule.grants(need));
        (
            helps(|identity| matches!(identity, Identity::User(_))),
            helps(|identity| matches!(identity, Identity::TokenFile(_))),
        )
    }

    /// The apps in a refusal: the one that was asked for, or the ones to which the role is limited.
    fn subject(&self, sender: &Sender, need: Need<'_>) -> String {
        if let Some(app) = need.app {
            return format!(" for the app {app:?}");
        }
        let of_role = self.rules.iter().filter(|rule| rule.identity.applies_to(sender));
        let of_role = of_role.filter(|rule| need.role.is_some_and(|role| rule.roles.contains(&role)));
        let patterns: Vec<&str> = of_role.flat_map(|rule| &rule.apps).map(AppPattern::as_str).collect();
        match patterns.is_empty() {
            true => String::new(),
            false => format!(" for all apps, only for {}", patterns.join(", ")),
        }
    }
}

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessDenied {
    /// The identity of the sender, for the metric.
    pub identity: String,
    /// True if a user could help.
    pub basic: bool,
    /// True if a token could help.
    pub bearer: bool,
    /// The text of the response.
    pub text: String,
}

#[cfg(test)]
mod tests;

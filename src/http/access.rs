//! Access: the identities of senders, their roles, and the networks, names and tokens by which they are recognized.

mod pattern;
mod reload;
mod rules;
mod tokens;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::body::Body;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use ipnet::IpNet;

use self::tokens::{TokenHasher, TokenTable};
use super::{PublicUrl, reply};
use crate::supervise::secret_file::FileRule;

pub use pattern::AppPattern;
pub use reload::token_reload;
pub use rules::{AccessDenied, AccessRule, AccessRules, Identity, Login, Need, Role, Sender};
pub use tokens::Token;

/// Rights of clients by their identities and by the host that they name, replaced as a whole by a configuration reload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The roles of identities (`[[http.access]]`, or `http.write_from` and `events.post_from`).
    pub rules: AccessRules,
    /// Reverse proxies with forwarding headers that are evaluated (`http.trusted_proxies`).
    pub trusted_proxies: Vec<IpNet>,
    /// Names of this server under which browsers may write, besides its addresses, `localhost` and its host name (`http.allowed_hosts`).
    pub allowed_hosts: Vec<String>,
    /// The URL of this server behind a reverse proxy (`http.external_url`).
    pub external_url: Option<PublicUrl>,
    /// The permissions with which a changed token file is not used (`secrets.strict`).
    pub secret_rule: FileRule,
}

/// The tokens of files.
pub type Tokens = Vec<(Arc<Path>, Token)>;

impl Access {
    /// Reads all token files. Blocks on the file system.
    ///
    /// # Errors
    ///
    /// A text for each file that cannot be used.
    pub fn read_tokens(&self) -> Result<Tokens, Vec<String>> {
        let (mut tokens, mut faults) = (Vec::new(), Vec::new());
        let files: HashSet<&Arc<Path>> = self.rules.token_files().collect();
        for file in files {
            // Open permissions are refused when the configuration is read (secrets.strict).
            match tokens::read_token(file, FileRule::Lenient) {
                Ok(token) => tokens.push((Arc::clone(file), token)),
                Err(why) => faults.push(format!("token_file {:?}: {why}", file.display().to_string())),
            }
        }
        faults.sort();
        if faults.is_empty() { Ok(tokens) } else { Err(faults) }
    }
}

/// The access settings in force on an HTTP port, with its tokens.
pub struct AccessControl {
    settings: ArcSwap<Access>,
    hasher: TokenHasher,
    tokens: ArcSwap<TokenTable>,
}

/// Nothing may write.
impl Default for AccessControl {
    fn default() -> Self {
        Self {
            settings: ArcSwap::default(),
            hasher: TokenHasher::new(),
            tokens: ArcSwap::default(),
        }
    }
}

impl AccessControl {
    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> Arc<Access> {
        self.settings.load_full()
    }

    /// Puts other settings into force, with the tokens of all their files.
    pub fn set(&self, access: Access, tokens: Tokens) {
        // First the tokens: with the new rules and the old tokens, clients would be refused for a moment.
        self.tokens.store(Arc::new(self.hasher.table(tokens)));
        self.settings.store(Arc::new(access));
    }

    /// The login of a token; none if it is unknown.
    pub(super) fn login(&self, token: &Token) -> Option<Login> {
        let files = self.hasher.files(&self.tokens.load(), token);
        (!files.is_empty()).then_some(Login::Token(files))
    }

    /// Replaces the tokens of files that are in use. Returns true if one of them was another before.
    fn replace_tokens(&self, tokens: Tokens) -> bool {
        let read = self.hasher.table(tokens);
        let before = self.tokens.rcu(|current| current.updated_by(&read));
        *before != before.updated_by(&read)
    }
}

/// The response to a request without credentials, or with wrong ones: 401, with the schemes that are evaluated or would help.
pub(super) fn unauthorized(text: &str, basic: bool, bearer: bool) -> Response<Body> {
    let mut response = reply::text(StatusCode::UNAUTHORIZED, text);
    let challenges = [
        (basic, "Basic realm=\"exporter-proxy\", charset=\"UTF-8\""),
        (bearer, "Bearer realm=\"exporter-proxy\""),
    ];
    for (_, challenge) in challenges.iter().filter(|(is_given, _)| *is_given) {
        response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

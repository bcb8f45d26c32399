//! Checks the credentials of a request, before any route sees it.

use std::sync::Arc;

use axum::body::Body;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, Uri};

use super::access::{Access, AccessControl, Login, Sender, unauthorized};
use super::client::{PeerAddr, effective_client, is_forwarded};
use super::connection::SharedConnection;
use super::stats::{HttpStats, count};
use super::web::{Verdict, WebPolicy, retry_after};
use super::{Authorization, Credentials};

/// The credentials of a request and what they are checked by. It does not borrow the request, which cannot be shared between threads.
pub(super) struct Authentication {
    header: Option<HeaderValue>,
    uri: Uri,
    sender: Sender,
    settings: Arc<Access>,
    control: Arc<AccessControl>,
    web: Option<Arc<WebPolicy>>,
    stats: Arc<HttpStats>,
}

/// The sender of a request, by its connection alone. The user id and the certificate of a peer that forwards for others are its own, and grant
/// nothing to these.
pub(super) fn sender_of(request: &Request<Body>, shared: &SharedConnection, settings: &Access) -> Sender {
    let is_own = !is_forwarded(request.headers());
    Sender {
        client: effective_client(shared.peer(), request.headers(), &settings.trusted_proxies),
        uid: match shared.peer() {
            PeerAddr::Unix { uid } if is_own => *uid,
            PeerAddr::Unix { .. } | PeerAddr::Tcp(_) | PeerAddr::Link(_) => None,
        },
        certificate_names: if is_own { shared.certificate_names() } else { Default::default() },
        login: Login::None,
    }
}

impl Authentication {
    pub(super) fn of(request: &Request<Body>, shared: &SharedConnection, web: Option<Arc<WebPolicy>>, stats: Arc<HttpStats>) -> Self {
        let control = shared.access().clone();
        let settings = control.settings();
        Self {
            header: request.headers().get(AUTHORIZATION).cloned(),
            uri: request.uri().clone(),
            sender: sender_of(request, shared, &settings),
            settings,
            control,
            web,
            stats,
        }
    }

    /// Checks the rate limit and the credentials. Credentials of a kind that nothing asks for are ignored; wrong ones are refused, even
    /// where none are needed, so that a client learns of them.
    ///
    /// # Errors
    ///
    /// The response in place of that of a route.
    pub(super) async fn check(mut self) -> Result<Sender, Response<Body>> {
        if let Some(web) = &self.web {
            web.admit()?;
        }
        let authorization = self.header.as_ref().and_then(Authorization::from_header);
        if let Some(Authorization::Bearer(token)) = &authorization
            && self.has_tokens()
        {
            self.sender.login = self.control.login(token).ok_or_else(|| self.wrong("wrong token"))?;
            return Ok(self.sender);
        }
        let Some(web) = self.web.clone().filter(|web| web.has_users()) else {
            return Ok(self.sender);
        };
        match authorization {
            Some(Authorization::Basic(credentials)) => self.sender.login = self.check_user(&web, credentials).await?,
            // Without tables a user may do everything, and each request needs one.
            _ if !self.settings.rules.are_tables() => {
                count(&self.stats.unauthorized);
                return Err(unauthorized("this server needs a user and a password", true, false));
            }
            _ => {}
        }
        Ok(self.sender)
    }

    fn has_tokens(&self) -> bool {
        self.settings.rules.token_files().next().is_some()
    }

    async fn check_user(&self, web: &WebPolicy, credentials: Credentials) -> Result<Login, Response<Body>> {
        let name: Arc<str> = credentials.user().into();
        match web.check(credentials, &self.sender.client).await {
            Verdict::Granted => Ok(Login::User(name)),
            Verdict::Denied => Err(self.wrong("wrong user or password")),
            Verdict::TooMany(status) => {
                let text = "too many passwords wait for their check";
                count(&self.stats.password_checks_refused);
                self.stats
                    .log_refused(&self.sender.client, format_args!("{}: {text}", self.uri.path()));
                Err(retry_after(status, text, 1))
            }
        }
    }

    /// The response to wrong credentials.
    fn wrong(&self, text: &str) -> Response<Body> {
        count(&self.stats.unauthorized);
        self.stats
            .log_refused(&self.sender.client, format_args!("{}: {text}", self.uri.path()));
        let has_users = self.web.as_ref().is_some_and(|web| web.has_users());
        unauthorized(text, has_users, self.has_tokens())
    }
}

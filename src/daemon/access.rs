//! The access settings of the HTTP port, of the proxy and of the bridge.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::bail;

use super::preflight::Found;
use super::program::Program;
use crate::config::Settings;
use crate::http::{Access, Client, Identity, Login, Need, Role, Sender, WebConfig, WebPolicy, token_reload};
use crate::supervise::blocking;

/// The key of the tables.
const KEY: &str = "http.access";

/// Puts the settings into force, and adds the service that follows the token files.
///
/// # Errors
/// When a token file cannot be used, or an identity can never be that of a client.
pub(super) async fn open(settings: &Settings, web: Option<&WebPolicy>, program: &mut Program) -> anyhow::Result<()> {
    let access = settings.access();
    let has_user = |name: &str| web.is_some_and(|web| web.has_user(name));
    let mut faults = unknown_identities(&access, has_user, web.is_some_and(WebPolicy::verifies_clients));
    let reading = access.clone();
    match blocking(move || reading.read_tokens()).await {
        Ok(tokens) if faults.is_empty() => {
            program.access.set(access, tokens);
            program.add(token_reload(Arc::clone(&program.access), Arc::clone(&program.notes)).await);
            return Ok(());
        }
        Ok(_) => {}
        Err(unreadable) => faults.extend(unreadable),
    }
    bail!("{KEY}: {}", faults.join("\n"))
}

/// Returns true if a client on this machine may push any app without credentials.
pub(super) fn can_push(settings: &Settings, web: Option<&WebPolicy>) -> bool {
    let rules = settings.access().rules;
    let client = Sender {
        client: Client::Ip(Ipv4Addr::LOCALHOST.into()),
        uid: None,
        certificate_names: Arc::default(),
        login: Login::None,
    };
    let need = Need {
        role: Some(Role::Push),
        app: None,
    };
    let needs_login = web.is_some_and(WebPolicy::has_users) && !rules.are_tables();
    !needs_login && rules.check(&client, need).is_ok()
}

/// The faults that only this machine shows. `web` is the content of the web configuration file; none if it is faulty itself.
pub(super) async fn faults(settings: &Settings, web: Option<&WebConfig>) -> Vec<Found> {
    let access = settings.access();
    let mut faults = identity_faults(settings, web);
    let unreadable = blocking(move || access.read_tokens()).await.err().unwrap_or_default();
    faults.extend(unreadable.into_iter().map(|fault| (KEY, fault)));
    faults
}

/// The faults of identities that can never be those of a client, as [`faults`].
pub(super) fn identity_faults(settings: &Settings, web: Option<&WebConfig>) -> Vec<Found> {
    let is_known = settings.http.web_config_file.is_none() || web.is_some();
    let has_user = |name: &str| !is_known || web.is_some_and(|web| web.has_user(name));
    let verifies_clients = !is_known || web.is_some_and(WebConfig::verifies_clients);
    let faults = unknown_identities(&settings.access(), has_user, verifies_clients);
    faults.into_iter().map(|fault| (KEY, fault)).collect()
}

/// The faults of identities that the web configuration file lets no client have.
fn unknown_identities(access: &Access, has_user: impl Fn(&str) -> bool, verifies_clients: bool) -> Vec<String> {
    let fault = |identity: &Identity| match identity {
        Identity::User(name) if !has_user(name) => Some(format!("user {name:?} is not in basic_auth_users of http.web_config_file")),
        Identity::San(name) if !verifies_clients => Some(format!(
            "san {name:?}: no client certificate is verified; set client_auth_type: VerifyClientCertIfGiven in http.web_config_file"
        )),
        _ => None,
    };
    access.rules.identities().filter_map(fault).collect()
}

//! Assembly of the API of Pushgateway.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Context;
use super::receivers::Receivers;
use crate::config::Settings;
use crate::http::Routes;
use crate::outlets::PushgatewayOutlet;
use crate::sources::pushgateway;

/// The routes that write, where the API is enabled.
pub(super) fn routes(settings: &Settings, context: &Context, receivers: &Receivers) -> Routes {
    if !settings.pushgateway.enabled {
        return Routes::new();
    }
    pushgateway::routes(receivers.group_handler(context, settings.pushgateway.rules.clone()))
}

/// The outlet of groups, where the API is enabled.
pub(super) fn outlet(settings: &Settings, context: &Context) -> Option<Arc<PushgatewayOutlet>> {
    let pushgateway = &settings.pushgateway;
    if !pushgateway.enabled {
        return None;
    }
    let prefix = Arc::clone(&pushgateway.rules.route_prefix);
    let (view, started) = (context.view.clone(), (context.clock)());
    Some(Arc::new(PushgatewayOutlet::new(view, started, flags(settings), prefix)))
}

/// The flags of Pushgateway, with the values that correspond to our settings.
fn flags(settings: &Settings) -> BTreeMap<&'static str, String> {
    let rules = &settings.pushgateway.rules;
    let path = settings.store.path.as_ref().map(|path| path.display().to_string());
    BTreeMap::from([
        ("persistence.file", path.unwrap_or_default()),
        ("push.disable-consistency-check", (!rules.strict).to_string()),
        ("push.enable-utf8-names", true.to_string()),
        ("web.enable-admin-api", true.to_string()),
        ("web.enable-lifecycle", settings.http.enable_lifecycle.to_string()),
        ("web.route-prefix", rules.route_prefix.to_string()),
        ("web.telemetry-path", "/metrics".to_owned()),
    ])
}

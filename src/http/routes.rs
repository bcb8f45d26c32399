//! Routes with the permission that each needs: none can be added without one.

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts as _, RawPathParams, Request};
use axum::middleware::{Next, from_fn};
use axum::routing::MethodRouter;
use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::access::{AccessDenied, Need, Role, Sender, unauthorized};
use super::{Connection, reply};

/// The permission that a route needs: a role, for all apps or for the one that a request names.
#[derive(Debug, Clone, Copy)]
pub struct Permission {
    /// None: any role.
    role: Option<Role>,
    app: AppSource,
}

/// The part of a request that names the only app that it is about.
#[derive(Debug, Clone, Copy)]
enum AppSource {
    None,
    /// A parameter of the route's path.
    Path(&'static str),
    /// The query.
    Query(fn(&str) -> Option<String>),
    /// The whole path, percent-encoded.
    WholePath(fn(&str) -> Option<String>),
}

impl Permission {
    /// For requests that show nothing of an app, such as for the style of a page: senders with any role have it.
    pub const ANY_ROLE: Self = Self {
        role: None,
        app: AppSource::None,
    };
}

impl From<Role> for Permission {
    fn from(role: Role) -> Self {
        Self {
            role: Some(role),
            app: AppSource::None,
        }
    }
}

impl Role {
    /// The permission for the app that a parameter of the route's path names.
    #[must_use]
    pub const fn of_path(self, parameter: &'static str) -> Permission {
        let app = AppSource::Path(parameter);
        Permission { role: Some(self), app }
    }

    /// The permission for the app that the whole path names according to this function, percent-encoded as it came; for all apps if it names
    /// none.
    #[must_use]
    pub const fn of_whole_path(self, named: fn(&str) -> Option<String>) -> Permission {
        let app = AppSource::WholePath(named);
        Permission { role: Some(self), app }
    }

    /// The permission for the app that the query selects according to this function; for all apps if it selects none.
    #[must_use]
    pub const fn of_query(self, selected: fn(&str) -> Option<String>) -> Permission {
        let app = AppSource::Query(selected);
        Permission { role: Some(self), app }
    }
}

/// Routes of an HTTP service.
///
/// They become a router once their handlers have their state: axum's types are compiled for each type of state, and there are many.
#[derive(Debug, Clone)]
pub struct Routes<S = ()> {
    routes: Vec<Route<S>>,
}

/// The handlers of a path.
#[derive(Debug, Clone)]
struct Route<S> {
    path: String,
    /// None: open to all.
    needs: Option<Permission>,
    methods: MethodRouter<S>,
}

impl<S: Clone> Default for Routes<S> {
    fn default() -> Self {
        Self { routes: Vec::new() }
    }
}

impl<S: Clone> Routes<S> {
    /// No routes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds handlers of a path, for senders with a permission.
    #[must_use]
    pub fn route(mut self, path: &str, needs: impl Into<Permission>, methods: MethodRouter<S>) -> Self {
        self.routes.push(Route {
            path: path.to_owned(),
            needs: Some(needs.into()),
            methods,
        });
        self
    }

    /// Adds handlers of a path for all senders. Requests to it are not authenticated, and count for no rate limit.
    #[must_use]
    pub fn open_route(mut self, path: &str, methods: MethodRouter<S>) -> Self {
        self.routes.push(Route {
            path: path.to_owned(),
            needs: None,
            methods,
        });
        self
    }

    /// Adds the routes of another set.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.routes.extend(other.routes);
        self
    }

    /// Gives the handlers their state.
    #[must_use]
    pub fn with_state(self, state: S) -> Routes {
        let with_state = |Route { path, needs, methods }: Route<S>| Route {
            path,
            needs,
            methods: methods.with_state(state.clone()),
        };
        Routes {
            routes: self.routes.into_iter().map(with_state).collect(),
        }
    }
}

impl Routes {
    /// The paths, with parameters in braces.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().map(|route| route.path.as_str())
    }

    /// The router, and the paths that are open to all.
    pub(super) fn into_parts(self) -> (Router, Vec<String>) {
        let (mut router, mut open) = (Router::new(), Vec::new());
        for Route { path, needs, methods } in self.routes {
            let guarded = match needs {
                // A handler of all methods is a fallback, which `route_layer` leaves out.
                Some(needs) => methods.layer(from_fn(move |request: Request, next: Next| guard(needs, request, next))),
                None => {
                    open.push(path.clone());
                    methods
                }
            };
            router = router.route(&path, guarded);
        }
        (router, open)
    }
}

/// A refused request, in the extensions of its response: the service counts and logs it.
#[derive(Debug, Clone)]
pub(super) struct AccessRefused {
    pub(super) role: Option<Role>,
    pub(super) identity: String,
    pub(super) text: String,
    pub(super) method: Method,
    pub(super) path: String,
}

async fn guard(needs: Permission, request: Request, next: Next) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let app = match needs.app {
        AppSource::None => None,
        AppSource::Path(parameter) => path_parameter(&mut parts, parameter).await,
        AppSource::Query(selected) => parts.uri.query().and_then(selected),
        AppSource::WholePath(named) => named(parts.uri.path()),
    };
    let need = Need {
        role: needs.role,
        app: app.as_deref(),
    };
    match refusal(&parts, need) {
        None => next.run(Request::from_parts(parts, body)).await,
        Some(refusal) => refusal,
    }
}

async fn path_parameter(parts: &mut Parts, parameter: &str) -> Option<String> {
    let params = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    let mut values = params.iter().filter(|(name, _)| *name == parameter);
    values.next().map(|(_, value)| value.to_owned())
}

/// The refusal of a request without the permission.
pub(super) fn refusal(parts: &Parts, need: Need<'_>) -> Option<Response<Body>> {
    let (Some(sender), Some(connection)) = (parts.extensions.get::<Sender>(), parts.extensions.get::<Connection>()) else {
        // Only the service passes requests on, and it adds both.
        return Some(reply::text(StatusCode::FORBIDDEN, "the sender of the request is not known"));
    };
    let refused = connection.access().rules.check(sender, need).err()?;
    let AccessDenied {
        identity,
        basic,
        bearer,
        text,
    } = refused;
    let mut response = match basic || bearer {
        true => unauthorized(&text, basic, bearer),
        false => reply::text(StatusCode::FORBIDDEN, &text),
    };
    response.extensions_mut().insert(AccessRefused {
        role: need.role,
        identity,
        text,
        method: parts.method.clone(),
        path: parts.uri.path().to_owned(),
    });
    Some(response)
}

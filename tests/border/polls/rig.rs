//! Polls at work, a store they write into, and eyes to see what they do.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use exporter_proxy::model::{AppName, Format, Origin, Timestamp, Update};
use exporter_proxy::peer_samples::PeerSamples;
use exporter_proxy::sources::polls::{Endpoint, EndpointKind, PollSettings, Polls};
use exporter_proxy::store::{self, App, Inlet, Limits, PutOptions, View};
use exporter_proxy::supervise::Service;
use exporter_proxy::supervise::secret_file::FileRule;
use exporter_proxy::telemetry::{RecentRefusal, SharedTelemetry, Telemetry};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::target::eventually;

pub struct Rig {
    pub view: View,
    telemetry: SharedTelemetry,
    settings: watch::Sender<Arc<PollSettings>>,
    stop: CancellationToken,
    task: AbortOnDropHandle<anyhow::Result<()>>,
}

/// An endpoint that is called by its URL and polled often.
pub fn endpoint(url: &str) -> Endpoint {
    Endpoint {
        name: AppName::new(url).unwrap(),
        url: url.parse().unwrap(),
        kind: EndpointKind::Metrics,
        interval: Duration::from_millis(100),
        timeout: Duration::from_secs(10),
        stale_after: Duration::from_secs(600),
        credentials: None,
        ca_file: None,
        certificate: None,
        socket: None,
        native_histograms: false,
        labels: Arc::new([]),
        events: None,
    }
}

/// PollSettings with limits small enough to be met.
pub fn settings(endpoints: impl IntoIterator<Item = Endpoint>) -> PollSettings {
    PollSettings {
        endpoints: endpoints.into_iter().collect(),
        allow_invalid_certs: false,
        max_body_bytes: 1 << 20,
        secret_rule: FileRule::Lenient,
        event_metric: Some("events_to_metrics".into()),
    }
}

fn clock() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap())
}

fn open(limits: Limits) -> (Inlet, View) {
    store::open(
        limits,
        store::Mode::Merge(exporter_proxy::exposition::catalog::Rules::new(None, Default::default(), &[])),
        store::EventOptions::default(),
    )
}

impl Rig {
    pub fn start(now: PollSettings) -> Self {
        Self::with_limits(now, Limits::default())
    }

    pub(crate) fn with_limits(now: PollSettings, limits: Limits) -> Self {
        Self::over(open(limits), now)
    }

    /// Polls that find data of an app which another process has polled.
    pub fn after_another(now: PollSettings, app: &str, text: &'static str) -> Self {
        let (inlet, view) = open(Limits::default());
        let update = Update {
            app: AppName::new(app).unwrap(),
            body: text.into(),
            records: Bytes::new(),
            read: None,
            syntax: None,
            labels: [].into(),
            origin: Origin {
                source: "external_poll: another".into(),
                format: Format::Poll,
            },
            at: clock(),
        };
        inlet.put(update, PutOptions::POLLED).unwrap();
        Self::over((inlet, view), now)
    }

    fn over((inlet, view): (Inlet, View), now: PollSettings) -> Self {
        let telemetry: SharedTelemetry = Arc::new(Telemetry::default());
        let (settings, follow) = watch::channel(Arc::new(now));
        let polls = Polls::new(
            follow,
            watch::Sender::new(true).subscribe(),
            inlet,
            PeerSamples::default(),
            Arc::clone(&telemetry),
            clock,
        );
        let stop = CancellationToken::new();
        let task = AbortOnDropHandle::new(tokio::spawn(Box::new(polls).run(stop.clone())));
        Self {
            view,
            telemetry,
            settings,
            stop,
            task,
        }
    }

    /// Puts other settings in force.
    pub fn reload(&self, settings: PollSettings) {
        self.settings.send(Arc::new(settings)).unwrap();
    }

    /// Waits until an app is there and as it should be.
    pub async fn app(&self, name: &str, good: impl Fn(&App) -> bool) -> Arc<App> {
        eventually(name, || self.view.app(name).filter(|app| good(app))).await
    }

    /// Waits for an app's data and gives it back as text.
    pub async fn body(&self, name: &str) -> String {
        let app = self.app(name, |app| app.updated.is_some() || app.fault.is_some()).await;
        assert_eq!(app.fault, None, "{name}");
        String::from_utf8(app.text.body().to_vec()).unwrap()
    }

    /// Waits for a fault of an app and gives it back.
    pub async fn fault(&self, name: &str) -> String {
        let app = self.app(name, |app| app.updated.is_some() || app.fault.is_some()).await;
        app.fault
            .as_deref()
            .unwrap_or_else(|| panic!("{name} should have failed"))
            .to_owned()
    }

    /// The value of one of the program's own series.
    pub fn metric(&self, series: &str) -> Option<String> {
        let mut out = String::new();
        self.telemetry.write(&mut out);
        out.lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))
    }

    /// The latest refusals.
    pub fn refusals(&self) -> Vec<RecentRefusal> {
        self.telemetry.recent_refusals()
    }

    /// The names of all apps.
    pub fn apps(&self) -> Vec<String> {
        self.view.apps().iter().map(|app| app.name.to_string()).collect()
    }

    /// Stops the polls, which they must do well.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// Polls one URL until there is an outcome, and gives back the text or the fault.
pub async fn poll(url: &str) -> Result<String, String> {
    poll_as(settings([endpoint(url)])).await
}

/// As [`poll`], with settings of one's own, which have one endpoint.
pub async fn poll_as(settings: PollSettings) -> Result<String, String> {
    let name = settings.endpoints[0].name.to_string();
    let rig = Rig::start(settings);
    let app = rig.app(&name, |app| app.updated.is_some() || app.fault.is_some()).await;
    let up = rig.metric(&format!("exporter_proxy_poll_up{{endpoint=\"{name}\"}}"));
    assert_eq!(up.as_deref(), Some(if app.fault.is_some() { "0" } else { "1" }));
    rig.stop().await;
    match &app.fault {
        Some(fault) => Err(fault.strip_prefix("poll failed: ").expect("a fault says what failed").to_owned()),
        None => Ok(String::from_utf8(app.text.body().to_vec()).unwrap()),
    }
}

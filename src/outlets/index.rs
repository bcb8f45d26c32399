//! `/`: the status page for browsers, the list of endpoints for other clients; and the page of one app.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use http::{HeaderMap, Response, StatusCode};
use maud::{Markup, html};

use super::app_filter::{AppFilter, Listed, Order, State as AppState};
use super::listing_cache::Selection;
use super::pushgateway;
use super::query::Query;
use super::status::{self, Report, StatusSources, Usage};
use super::table::{self, Present};
use crate::exposition::Family;
use crate::http::{Connection, Need, Role, Sender, path_segment as segment, reply};
use crate::model::{Timestamp, printable};
use crate::page::{self, Plain, section, span};
use crate::store::{App, MINUTES};
use crate::telemetry::{ClusterMember, ClusterState, RemovalReason, UpdateRun};
use crate::wire::pushgateway::SOURCE;

/// The most applications shown on the page; a search finds the others.
const MAX_ROWS: usize = 500;
/// The most families shown on the page of an app.
const MAX_FAMILIES: usize = 500;
/// Bytes of an app's text on its page; the whole is one click away.
const MAX_TEXT: usize = 64 << 10;

/// State of the page.
#[derive(Debug)]
pub struct IndexHandler {
    sources: Arc<StatusSources>,
    endpoints: Vec<(&'static str, &'static str)>,
}

impl IndexHandler {
    /// A page about these parts with this list of endpoints: what to request, and what it gives.
    #[must_use]
    pub fn new(sources: Arc<StatusSources>, endpoints: Vec<(&'static str, &'static str)>) -> Self {
        Self { sources, endpoints }
    }
}

/// The endpoints as lines of text.
fn list(endpoints: &[(&str, &str)]) -> String {
    let width = endpoints.iter().map(|(request, _)| request.len()).max().unwrap_or(0);
    endpoints.iter().fold(String::new(), |mut lines, (request, gives)| {
        let _ = writeln!(lines, "  {request:width$}  {gives}");
        lines
    })
}

/// `GET /`
pub(super) async fn index(
    State(index): State<Arc<IndexHandler>>,
    Extension(connection): Extension<Connection>,
    Extension(sender): Extension<Sender>,
    Query(filter): Query<AppFilter>,
    headers: HeaderMap,
) -> Response<Body> {
    if page::is_wanted(&headers) {
        let need = Need {
            role: Some(Role::Admin),
            app: None,
        };
        let may_delete = connection.access().rules.check(&sender, need).is_ok();
        let selection = index.sources.listings.select(filter.clone(), MAX_ROWS).await;
        let rendered = Arc::clone(&index);
        let render = move || page::page("exporter-proxy", "", &overview(&rendered, &filter, &selection, may_delete));
        return index.sources.listings.pages.respond(&headers, render).await;
    }
    reply::text(
        StatusCode::OK,
        format!(
            "exporter-proxy {}: one port for the metrics of many applications\n\n{}",
            env!("CARGO_PKG_VERSION"),
            list(&index.endpoints)
        ),
    )
}

fn overview(index: &IndexHandler, filter: &AppFilter, selection: &Selection, may_delete: bool) -> Markup {
    let report = index.sources.report();
    let counts = selection.counts;
    html! {
        (page::header(concat!("exporter-proxy ", env!("CARGO_PKG_VERSION")), report.uptime_seconds))
        main {
            div #state data-part {
                (page::readiness(report.obstacles.as_deref(), &report.notes))
                ul.facts {
                    li { b { (counts.apps()) } (if counts.apps() == 1 { " app" } else { " apps" }) }
                    @if counts.fault > 0 { li.fault { b { (counts.fault) } " with faults" } }
                    @if counts.stale > 0 { li.stale { b { (counts.stale) } " stale" } }
                    @if let Some(series) = counts.series { li { b { (series) } " series" } }
                    li { b { (bytes(counts.bytes)) } " of text" }
                }
            }
            section aria-labelledby="apps-heading" {
                h2 #apps-heading { "Apps" }
                (search(filter))
                div #apps data-part { (apps(&index.sources, selection)) }
            }
            section #groups data-part {
                @if selection.listed.iter().any(is_group) { (groups(&index.sources, selection, may_delete)) }
            }
            section #refused data-part { (refused(&report)) }
            section #removed data-part { (removed(&report)) }
            section #events data-part { (events(&report)) }
            section #scrapers data-part { (scrapers(&report)) }
            section #links data-part { (links(&report)) }
            @if let Some(state) = &report.cluster { section #cluster data-part { (cluster(state)) } }
            section #limits data-part { (limits(&report.usage)) }
            section { (endpoints(&index.endpoints)) }
        }
    }
}

fn search(filter: &AppFilter) -> Markup {
    html! {
        form method="get" data-filter role="search" {
            label { "Search" input type="search" name="q" value=[filter.q.as_deref()] placeholder="name, source or state"; }
            label { "State"
                select name="state" {
                    option value="" { "all" }
                    @for state in AppState::ALL { option value=(state.word()) selected[filter.state == Some(state)] { (state.word()) } }
                }
            }
            label { "Order"
                select name="sort" {
                    @for (order, word) in Order::ALL {
                        option value=(word) selected[filter.sort.unwrap_or(Order::State) == order] { (if order == Order::State { "faults first" } else { word }) }
                    }
                }
            }
            button { "Apply" }
        }
    }
}

fn apps(sources: &StatusSources, selection: &Selection) -> Markup {
    let present = Present::of(&sources.view, sources.listings.clock);
    if selection.named == 0 {
        let text = match selection.counts.apps() {
            0 => "No app has sent metrics yet.",
            _ => "No app matches.",
        };
        return html! { p.soft { (text) } };
    }
    let rows: Vec<_> = selection.listed.iter().take(MAX_ROWS).map(|row| app_row(row, present)).collect();
    html! {
        (page::table(&["App", "State", "#Age", "Updates", "#Series", "#Bytes", "Source"], &rows))
        @if selection.named > MAX_ROWS {
            p.soft { "The first " (MAX_ROWS) " of " (selection.named) " apps; search for others, or see " a href="apps" { "/apps" } "." }
        }
    }
}

fn app_row((app, status): &Listed, present: Present) -> Markup {
    let state = AppState::of(status);
    html! {
        td.name { a href=(format!("apps/{}", segment(app.name.as_str()))) { (Plain(app.name.as_str())) } }
        td.text.(state.word()) { (Plain(&status.to_string())) }
        td.n { (present.age(app).map_or_else(|| "never".to_owned(), |age| span(age.as_secs()))) }
        td { (rate_chart(present.rate(app))) }
        td.n { (table::series(app)) }
        td.n { (app.text.body().len()) }
        td { (Plain(&app.origin.source)) }
    }
}

fn is_group((app, _): &Listed) -> bool {
    &*app.origin.source == SOURCE
}

/// The Pushgateway groups among the apps that are shown, with buttons that delete them for those who may.
fn groups(sources: &StatusSources, selection: &Selection, may_delete: bool) -> Markup {
    let present = Present::of(&sources.view, sources.listings.clock);
    let row = |(app, _): &Listed| {
        let name = app.name.as_str();
        let labels = name.strip_prefix(SOURCE).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(name);
        let (pushed, failed) = pushgateway::push_times(app);
        let time = |seconds: Option<Timestamp>| seconds.map_or_else(|| "never".to_owned(), table::clock_time);
        html! {
            td.name { a href=(format!("apps/{}", segment(name))) { (Plain(labels)) } }
            td.fixed { (time(pushed)) }
            td.fixed.fault[failed.is_some() && failed >= pushed] { (time(failed)) }
            td { (present.expiry(app)) }
            @if may_delete {
                td { button type="button" data-delete=(format!("apps/{}", segment(name))) data-name=(printable(name)) { "Delete" } }
            }
        }
    };
    let listed = selection.listed.iter().take(MAX_ROWS).filter(|listed| is_group(listed));
    let rows: Vec<_> = listed.map(row).collect();
    let head = ["Group", "Last push", "Last failed push", "Expires", ""];
    let columns = if may_delete { head.len() } else { head.len() - 1 };
    section("Pushgateway groups", &head[..columns], &rows, "")
}

/// The updates of the last minutes as bars, the last minute on the right.
fn rate_chart(minutes: [u16; MINUTES]) -> Markup {
    const BAR: usize = 4;
    const HEIGHT: u16 = 16;
    let highest = minutes.iter().copied().max().unwrap_or(0).max(1);
    let last = minutes.iter().rev().nth(1).copied().unwrap_or(0);
    // One path of all bars, because a page has hundreds of charts; minutes without an update have none.
    let mut bars = String::new();
    for (n, count) in minutes.into_iter().enumerate().filter(|(_, count)| *count > 0) {
        // One update is visible beside many.
        let height = (u32::from(count) * u32::from(HEIGHT) / u32::from(highest)).max(1);
        // Writing to a string cannot fail.
        let _ = write!(bars, "M{} {HEIGHT}v-{height}h{}v{height}", n * BAR, BAR - 1);
    }
    html! {
        svg.rate role="img" viewBox=(format!("0 0 {} {HEIGHT}", MINUTES * BAR)) preserveAspectRatio="none" aria-label=(format!("{last} in the last whole minute, at most {highest}")) {
            path d=(bars) {}
        }
    }
}

fn refused(report: &Report) -> Markup {
    let row = |refusal: &crate::telemetry::RecentRefusal| {
        html! {
            td.fixed { (span(report.age(refusal.last))) " ago" } td.fixed { (Plain(&refusal.client)) } td { (Plain(&refusal.source)) }
            td.text.fault { (Plain(&refusal.detail)) } td { (refusal.reason) } td.n { (refusal.count) }
        }
    };
    let rows: Vec<_> = report.refusals.iter().map(row).collect();
    let head = ["Last", "Client", "Received on", "Why", "Reason in metrics", "#Times"];
    section("Recently refused", &head, &rows, "Nothing has been refused.")
}

fn removed(report: &Report) -> Markup {
    let row = |removal: &crate::telemetry::Removal| {
        let why = match &removal.reason {
            RemovalReason::Expired => "expired: no update within X-Expire-After or store.expire_after".to_owned(),
            RemovalReason::Deleted(by) => format!("deleted by {by}"),
        };
        html! { td.fixed { (span(report.age(removal.at))) " ago" } td { (Plain(removal.app.as_str())) } td { (Plain(&why)) } }
    };
    let rows: Vec<_> = report.removals.iter().map(row).collect();
    section(
        "Recently removed",
        &["When", "App", "Why"],
        &rows,
        "No app has expired or been deleted.",
    )
}

fn events(report: &Report) -> Markup {
    let Some(overview) = &report.events else {
        return html! { h2 { "One-shot events" } p.soft { "Events are not accepted (events.enabled)." } };
    };
    let row = |scraper: &crate::store::ScraperOverview| {
        let labels: Vec<_> = status::pending_labels(overview, &scraper.pending_ids).collect();
        html! {
            td.name { (Plain(scraper.scraper.as_str())) } td.n { (scraper.pending) } td.n { (scraper.in_flight) } td.n { (scraper.lost) }
            td { (scraper.last_scrape.map_or_else(|| "never".to_owned(), table::clock_time)) }
            td.text { @for labels in labels { code { (Plain(labels)) } " " } }
        }
    };
    let rows: Vec<_> = overview.scrapers.iter().map(row).collect();
    let head = [
        "Scraper",
        "Pending",
        "In flight",
        "Lost",
        "Last scrape",
        "Labels of the first pending events",
    ];
    html! {
        (section("One-shot events", &head, &rows, "No scraper has asked yet; the first one gets the events of events.newcomer_window."))
        p.soft { (overview.accepted) " accepted so far; " a href="events" { "recent events" } }
    }
}

fn scrapers(report: &Report) -> Markup {
    let row = |scraper: &super::recent_scrapers::Scraper| {
        html! {
            td.fixed { (Plain(&scraper.client.to_string())) } td.text { (Plain(&scraper.agent)) } td { code { (Plain(&scraper.request)) } }
            td { (scraper.format.content_type()) ", " (table::encoding(scraper.encoding)) } td.n { (scraper.bytes.map_or_else(|| "-".to_owned(), bytes)) }
            td.n { (format!("{:.1} ms", scraper.took.as_secs_f64() * 1_000.0)) }
            td.n { (scraper.interval.map_or_else(|| "-".to_owned(), |interval| format!("{:.1} s", interval.as_secs_f64()))) }
            td.n { (span(report.age(scraper.last))) " ago" } td.n { (scraper.count) }
        }
    };
    let rows: Vec<_> = report.scrapers.iter().map(row).collect();
    let head = [
        "Client", "Program", "Request", "Format", "Bytes", "Took", "Interval", "Last", "Times",
    ];
    section("Scrapers", &head, &rows, "No scrape yet.")
}

fn links(report: &Report) -> Markup {
    let row = |(bridge, state): &(String, crate::telemetry::LinkState)| {
        html! {
            td.text { (Plain(bridge)) }
            @match state.registered_since {
                Some(since) => { td.ok { "registered for " (span(report.age(since))) } },
                None => { td.fault { "not registered" } },
            }
            td.n { (state.last_scrape.map_or_else(|| "never".to_owned(), |at| format!("{} ago", span(report.age(at))))) }
            td.text { @if let Some((at, text)) = &state.last_error { (span(report.age(*at))) " ago: " (Plain(text)) } }
        }
    };
    let rows: Vec<_> = report.links.iter().map(row).collect();
    section(
        "Links",
        &["Bridge", "State", "#Last scrape", "Last error"],
        &rows,
        "No bridge is configured (p2p.bridges).",
    )
}

fn cluster(state: &ClusterState) -> Markup {
    let row = |member: &ClusterMember| {
        html! {
            td.name { (Plain(&member.name)) } td.fixed { @if let Some(http) = member.http { (http) } } td { (Plain(&member.version)) }
            td.n { (member.apps) } td { (if member.has_lease { "polls for all" } else { "" }) }
        }
    };
    let rows: Vec<_> = state.members.iter().map(row).collect();
    html! {
        (section("Replicas", &["Name", "Address", "Version", "#Apps", "Work"], &rows, "No replica is known yet."))
        p.(if state.connected { "soft" } else { "fault" }) {
            (Plain(&state.engine)) (if state.connected { ": connected, " } else { ": not connected, " }) (state.pending) " changes to be written"
        }
    }
}

fn limits(usage: &[Usage]) -> Markup {
    let shown = |usage: &Usage, number: u64| match usage.unit {
        "bytes" => bytes(number),
        unit if number == 1 => format!("1 {}", unit.trim_end_matches('s')),
        unit => format!("{number} {unit}"),
    };
    let row = |usage: &Usage| {
        html! {
            td.name { code { (usage.key) } @if let Some(of) = &usage.of { " " (Plain(of)) } }
            td.n { (shown(usage, usage.used)) } td.n { (shown(usage, usage.limit)) }
            td { meter min="0" max=(usage.limit) value=(usage.used) high=(usage.limit / 10 * 9) aria-label=(usage.key) {} }
        }
    };
    let rows: Vec<_> = usage.iter().map(row).collect();
    section("Limits", &["Key", "#Used", "#Limit", "How full"], &rows, "")
}

fn endpoints(endpoints: &[(&str, &str)]) -> Markup {
    let row = |(request, gives): &(&str, &str)| {
        let path = request
            .strip_prefix("GET /")
            .filter(|path| !path.contains(|c: char| c.is_ascii_uppercase()) && !path.ends_with("..."));
        html! {
            td { @match path { Some(path) => { a href=(format!("./{path}")) { code { (request) } } }, None => { code { (request) } } } }
            td.text { (gives) }
        }
    };
    let rows: Vec<_> = endpoints.iter().map(row).collect();
    section("Endpoints", &["Request", "Result"], &rows, "")
}

/// The page of one app.
pub(super) fn app_page(app: &App, present: Present, updates: &[UpdateRun]) -> Response<String> {
    let status = present.status(app);
    let exposition = app.text.exposition();
    let families = exposition.map_or(&[] as &[Family], |text| text.families());
    let body = html! {
        nav { a href="../" { "all apps" } }
        main #app data-part {
            h1 { (Plain(app.name.as_str())) }
            p.(AppState::of(&status).word()) { (Plain(&status.to_string())) }
            pre { (table::describe(app, present)) }
            p { "Updates in each of the last " (MINUTES) " minutes: " (rate_chart(present.rate(app))) }
            (last_updates(updates))
            h2 { "Families" }
            (family_table(app, families))
            h2 { "Text" }
            p { a href=(format!("{}/metrics", segment(app.name.as_str()))) { "all of it, as it is scraped" } }
            pre { (text_start(app)) }
        }
        p { button type="button" data-delete=(segment(app.name.as_str())) data-name=(printable(app.name.as_str())) data-then="../" { "Delete this app" } }
        footer { p.soft { "page " span #live role="status" { "as of when it was loaded" } } }
    };
    page::page(&format!("{} - exporter-proxy", app.name), "../", &body)
}

/// The latest updates of an app, those of one client with the same outcome as one row.
fn last_updates(updates: &[UpdateRun]) -> Markup {
    let now = Instant::now();
    let age = |at: Instant| format!("{} ago", span(now.saturating_duration_since(at).as_secs()));
    let row = |run: &UpdateRun| {
        let size = match run.smallest == run.largest {
            true => run.bytes.to_string(),
            false => format!("{} ({} to {})", run.bytes, run.smallest, run.largest),
        };
        html! {
            td.fixed { (age(run.last)) } td.fixed { (if run.count > 1 { age(run.first) } else { "-".to_owned() }) }
            td.n { (run.count) } td.n { (size) }
            td { (run.client.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)) } td { (Plain(&run.source)) }
            @match run.refused { None => { td.ok { "accepted" } }, Some(reason) => { td.fault { "refused: " (reason) } } }
        }
    };
    let rows: Vec<_> = updates.iter().map(row).collect();
    let head = ["Last", "First", "#Times", "#Bytes of the last", "Client", "Received on", "Outcome"];
    section("Last updates", &head, &rows, "None since the start.")
}

fn family_table(app: &App, families: &[Family]) -> Markup {
    let Some(exposition) = app.text.exposition() else {
        return html! { p.soft { "Texts are not read in this mode (exposition.mode)." } };
    };
    let text = |span| String::from_utf8_lossy(exposition.text(span)).into_owned();
    let syntax = exposition.syntax();
    let row = |family: &Family| {
        html! {
            td.name { code { (Plain(&text(family.name))) } }
            td { (family.kind.word(syntax).unwrap_or("unknown")) }
            td.n { (family.samples) }
            td.text { (Plain(&family.help().map(text).unwrap_or_default())) }
        }
    };
    let rows: Vec<_> = families.iter().take(MAX_FAMILIES).map(row).collect();
    html! {
        (page::table(&["Family", "Type", "#Samples", "Help"], &rows))
        @if families.len() > MAX_FAMILIES { p.soft { "and " (families.len() - MAX_FAMILIES) " more" } }
    }
}

/// The first part of an app's text.
fn text_start(app: &App) -> Markup {
    let body = app.text.body();
    let shown = String::from_utf8_lossy(&body[..body.len().min(MAX_TEXT)]);
    html! {
        (printable(&shown))
        @if body.len() > MAX_TEXT { "... and " (body.len() - MAX_TEXT) " bytes more" }
    }
}

/// A number of bytes for people.
fn bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let (exact, units) = (bytes as f64, ["B", "KiB", "MiB", "GiB", "TiB"]);
    let (mut shown, mut unit) = (exact, 0);
    while shown >= 1024.0 && unit + 1 < units.len() {
        (shown, unit) = (shown / 1024.0, unit + 1);
    }
    let decimals = usize::from(unit > 0);
    format!("{shown:.decimals$} {}", units[unit])
}

#[cfg(test)]
mod tests;

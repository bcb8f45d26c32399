//! The query of a scrape.

use url::form_urlencoded;

/// Returns the only app that a scrape with this query shows: `app=NAME` with `own=false`, because the self metrics of a proxy name all
/// apps. None if it shows more, and if a parameter is repeated.
#[must_use]
pub fn only_app(query: &str) -> Option<String> {
    let (mut app, mut own) = (None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let parameter = match &*name {
            "app" => &mut app,
            "own" => &mut own,
            // The apps' metrics give way to the self metrics.
            "only" => return None,
            _ => continue,
        };
        if parameter.replace(value).is_some() {
            return None;
        }
    }
    app.filter(|_| own.as_deref() == Some("false")).map(String::from)
}

#[cfg(test)]
mod tests;

//! The two syntaxes of expositions.

/// Syntax of an exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Syntax {
    /// The Prometheus text format 0.0.4 or 1.0.0.
    #[default]
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Syntax {
    /// The syntax for a `Content-Type` header; `None` if it is not the type of an exposition (`text/html`, or the form type that curl sends
    /// by default). As in Prometheus, only the media type counts, not its parameters or the text.
    #[must_use]
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case("application/openmetrics-text") {
            Some(Self::OpenMetrics)
        } else if media_type.eq_ignore_ascii_case("text/plain") {
            Some(Self::Text)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests;

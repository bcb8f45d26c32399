//! The Content-Type of the format.

/// Protobuf of another message or another encoding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "protobuf with {parameter}={value} is not supported, only application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
     encoding=delimited"
)]
pub struct UnsupportedProtobuf {
    parameter: &'static str,
    value: String,
}

/// Bytes of a parameter that an error quotes.
const QUOTED_CHARS: usize = 60;

/// True if a body with this `Content-Type` is one of length-delimited metric families. As in Prometheus, parameters that are missing are
/// taken to be right.
///
/// # Errors
/// If it is protobuf of another message or encoding.
pub fn is_content_type(content_type: &str) -> Result<bool, UnsupportedProtobuf> {
    let mut fields = content_type.split(';').map(str::trim);
    if !fields
        .next()
        .is_some_and(|media| media.eq_ignore_ascii_case("application/vnd.google.protobuf"))
    {
        return Ok(false);
    }
    for (name, value) in fields.filter_map(|field| field.split_once('=')) {
        let value = value.trim().trim_matches('"');
        for (parameter, supported) in [("proto", "io.prometheus.client.MetricFamily"), ("encoding", "delimited")] {
            if name.trim().eq_ignore_ascii_case(parameter) && !value.eq_ignore_ascii_case(supported) {
                let value = value.chars().take(QUOTED_CHARS).flat_map(char::escape_debug).collect();
                return Err(UnsupportedProtobuf { parameter, value });
            }
        }
    }
    Ok(true)
}

//! Normalization of HTTP/1 response heads for a strict parser.
//!
//! Exporters are often handwritten and tested only with Go's client, which accepts folded lines, whitespace before a colon, names with
//! spaces, an empty Content-Length, a Transfer-Encoding in HTTP/1.0. The rules are those of Go's `net/textproto` and `net/http`.

/// End of a head, behind its first empty line; `None` while it has not arrived.
#[must_use]
pub fn end_of_head(data: &[u8]) -> Option<usize> {
    // Empty lines before the status line do not end the head.
    let (mut start, mut begun) = (0, false);
    loop {
        let newline = start + memchr::memchr(b'\n', &data[start..])?;
        let empty = matches!(&data[start..newline], b"" | b"\r");
        if empty && begun {
            return Some(newline + 1);
        }
        begun |= !empty;
        start = newline + 1;
    }
}

/// Returns true for an interim response, which is followed by another one to the same request.
#[must_use]
pub fn is_interim(head: &[u8]) -> bool {
    let status = HeadLines { rest: head }.status().splitn(3, |byte| *byte == b' ').nth(1);
    status.is_some_and(|status| status.starts_with(b"1") && !status.starts_with(b"101"))
}

/// Normalizes a complete head: one line per header, without the headers that Go's client ignores. Parts that Go's client refuses are
/// unchanged.
#[must_use]
pub fn normalized(head: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len());
    let mut lines = HeadLines { rest: head };
    let status = lines.status();
    line(&mut out, status);
    let http_1_0 = status.starts_with(b"HTTP/1.0");
    while let Some(header) = lines.folded() {
        match header.iter().position(|byte| *byte == b':') {
            Some(colon) if !is_ignored(&header, colon, http_1_0) => {
                let name = trim_end(&header[..colon]);
                line(&mut out, &[name, &header[colon..]].concat());
            }
            Some(_) => {}
            None => line(&mut out, &header),
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Returns true for a header that Go's client accepts and ignores.
fn is_ignored(header: &[u8], colon: usize, http_1_0: bool) -> bool {
    let (name, value) = (trim_end(&header[..colon]), &header[colon + 1..]);
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let has_spaces = name.contains(&b' ') && name.iter().all(|byte| *byte == b' ' || is_token(byte));
    let no_length = is("Content-Length") && value.trim_ascii().is_empty();
    has_spaces || no_length || http_1_0 && is("Transfer-Encoding")
}

/// Trims spaces and tabs at the end.
fn trim_end(text: &[u8]) -> &[u8] {
    let end = text
        .iter()
        .rposition(|byte| !matches!(byte, b' ' | b'\t'))
        .map_or(0, |last| last + 1);
    &text[..end]
}

fn line(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(line);
    out.extend_from_slice(b"\r\n");
}

/// The lines of a head.
struct HeadLines<'a> {
    rest: &'a [u8],
}

impl<'a> HeadLines<'a> {
    /// The next line, without its end; `None` at the end of the data.
    fn one(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let newline = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
        let line = &self.rest[..newline];
        self.rest = self.rest.get(newline + 1..).unwrap_or_default();
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The first line that is not empty.
    fn status(&mut self) -> &'a [u8] {
        loop {
            match self.one() {
                Some(b"") => {}
                line => return line.unwrap_or_default(),
            }
        }
    }

    /// The next header with its continuation lines, joined by one space each; `None` at the empty line.
    fn folded(&mut self) -> Option<Vec<u8>> {
        let mut header = self.one().filter(|line| !line.is_empty())?.to_vec();
        while self.rest.starts_with(b" ") || self.rest.starts_with(b"\t") {
            let more = self.one().unwrap_or_default().trim_ascii();
            header.truncate(trim_end(&header).len());
            header.push(b' ');
            header.extend_from_slice(more);
        }
        Some(header)
    }
}

#[cfg(test)]
mod tests;

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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spelled(head: &str) -> String {
        String::from_utf8_lossy(&normalized(head.as_bytes())).into_owned()
    }

    #[test]
    fn what_go_takes_is_made_strict() {
        for (head, expected) in [
            ("HTTP/1.1 200 OK\r\nA: b\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n\r\n"),
            ("HTTP/1.1 200 OK\nA: b\n\n", "HTTP/1.1 200 OK\r\nA: b\r\n\r\n"),
            (
                "HTTP/1.1 200 OK\r\nX-Info : a\r\nB\t: c\r\n\r\n",
                "HTTP/1.1 200 OK\r\nX-Info: a\r\nB: c\r\n\r\n",
            ),
            (
                "HTTP/1.1 200 OK\r\nX-Long: b \r\n c\r\n\td\r\nY: e\r\n\r\n",
                "HTTP/1.1 200 OK\r\nX-Long: b c d\r\nY: e\r\n\r\n",
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"),
            (
                "HTTP/1.1 200 OK\r\ncontent-length :  \r\nA: b\r\n\r\n",
                "HTTP/1.1 200 OK\r\nA: b\r\n\r\n",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length:\r\n 4\r\n\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n",
            ),
            ("HTTP/1.1 200 OK\r\nMy Own Header: a\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"),
            ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            ),
            (
                "HTTP/1.1 200 OK\r\nno colon\r\nb@d: x\r\n\r\n",
                "HTTP/1.1 200 OK\r\nno colon\r\nb@d: x\r\n\r\n",
            ),
            ("\r\n\nHTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"),
            ("SSH-2.0-OpenSSH\r\n\r\n", "SSH-2.0-OpenSSH\r\n\r\n"),
        ] {
            assert_eq!(spelled(head), expected, "{head:?}");
            assert_eq!(end_of_head(head.as_bytes()), Some(head.len()), "{head:?}");
        }
    }

    #[test]
    fn interim_responses_are_followed_by_another() {
        for (head, interim) in [
            ("HTTP/1.1 100 Continue\r\n\r\n", true),
            ("\r\nHTTP/1.1 103 Early Hints\r\n\r\n", true),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\n\r\n", false),
            ("HTTP/1.1", false),
            ("", false),
        ] {
            assert_eq!(is_interim(head.as_bytes()), interim, "{head:?}");
        }
    }

    proptest! {
        #[test]
        fn a_normalized_head_stays_as_it_is(head in "HTTP/1.[01] 200( OK)?\r\n([A-Za-z -]{0,14}[ \t]?:[ \ta-z0-9]{0,6}\r?\n([ \t][a-z ]{0,4}\r\n)?){0,5}\r\n") {
            let once = normalized(head.as_bytes());
            prop_assert_eq!(normalized(&once), once.clone());
            prop_assert_eq!(end_of_head(&once), Some(once.len()));
        }

        #[test]
        fn nothing_breaks_it(head in prop::collection::vec(prop::sample::select(&b"HT/1.0 :\r\n\tAab\0\xff"[..]), 0..80)) {
            let once = normalized(&head);
            prop_assert!(once.ends_with(b"\r\n"));
            prop_assert_eq!(normalized(&once), once);
        }
    }
}

//! The reader of OpenMetrics 2.0: no panic, text within its limit, faults that point into the body, and what the writer makes of it is valid and
//! reads back as the same.

use std::sync::Arc;

use exporter_proxy::exposition::Exposition;
use exporter_proxy::exposition::catalog::{render_single, unstated_types_of_single};
use exporter_proxy::exposition::negotiate::{Escaping, Format};
use exporter_proxy::exposition::openmetrics2::{Writer, parse};

/// The limit of the text: some inputs reach it.
const MAX_TEXT: usize = 64 * 1024;

/// Reads any bytes.
pub fn check(input: &[u8]) {
    let Ok(read) = parse(input, MAX_TEXT) else { return };
    assert!(read.body().len() <= MAX_TEXT + "# EOF\n".len());
    for fault in read.faults() {
        assert!(fault.line > 0 && fault.column > 0 && fault.offset as usize <= input.len() + 1);
    }
    if !read.faults().is_empty() {
        return;
    }
    let written = written(read);
    assert!(written.ends_with(b"# EOF\n"));
    // Bytes of text may become more of it by the names of buckets.
    if let Ok(again) = parse(&written, MAX_TEXT) {
        assert!(
            again.faults().is_empty(),
            "{:?}\n{}",
            again.faults(),
            String::from_utf8_lossy(&written)
        );
    }
}

fn written(read: Exposition) -> Vec<u8> {
    let app = Arc::new(read);
    let format = Format::OpenMetrics200(Some(Escaping::AllowUtf8));
    let response = render_single(&app, format.into());
    let chunks = response.chunks().iter().cloned().chain(response.tail(None));
    let types = unstated_types_of_single(&app, format.escaping());
    let mut out = Vec::new();
    let goes_on = Writer::new(chunks.map(|chunk| chunk.text()).collect(), &types).write(&mut out, usize::MAX);
    assert!(!goes_on, "all of it is written at once");
    out
}

#[test]
fn the_figures_of_this_very_process_are_plausible() {
    let mut out = String::new();
    super::Process::new(std::time::SystemTime::now()).write(&mut out);
    for name in [
        "cpu_seconds_total",
        "resident_memory_bytes",
        "open_fds",
        "max_fds",
        "start_time_seconds",
    ] {
        assert!(
            out.contains(&format!("\nexporter_proxy_process_{name} ")),
            "{name} is missing:\n{out}"
        );
    }
}

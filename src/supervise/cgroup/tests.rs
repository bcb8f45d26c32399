use super::*;

#[test]
fn groups_of_both_versions_name_their_files() {
    let show = |groups: &str| files(groups).iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
    assert_eq!(
        show("0::/system.slice/x.service\n"),
        [
            "/sys/fs/cgroup/system.slice/x.service/memory.max",
            "/sys/fs/cgroup/system.slice/memory.max",
            "/sys/fs/cgroup/memory.max"
        ]
    );
    assert_eq!(
        show("5:cpu,cpuacct:/\n4:memory:/docker/1\n"),
        [
            "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes"
        ]
    );
    assert!(show("nonsense\n1:name=systemd:/\n").is_empty());
}

#[test]
fn a_limit_is_a_number() {
    assert_eq!(
        (limit("max\n"), limit("1073741824\n"), limit("0\n"), limit("")),
        (None, Some(1 << 30), None, None)
    );
    assert!((1..=MOST).contains(&default_memory_limit()));
}

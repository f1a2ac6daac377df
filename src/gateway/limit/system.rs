//! What the system allows the process, and what it has.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

const GROUPS: &str = "/sys/fs/cgroup";

/// How many files and connections the process may have open.
pub fn open_files() -> u64 {
    rlimit::Resource::NOFILE.get_soft().unwrap_or(1024)
}

/// How many bytes of memory the process may take before the system ends it: what its control group
/// and those around it allow, or what the machine has.
pub fn memory() -> Option<u64> {
    let group = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let machine = read_to_string("/proc/meminfo").unwrap_or_default();
    let groups = limits_of_groups(Path::new(GROUPS), &group);
    groups.chain(kilobytes(&machine, "MemTotal:")).min()
}

/// How many bytes of memory the process has.
pub fn resident() -> Option<u64> {
    let status = read_to_string("/proc/self/status").ok()?;
    kilobytes(&status, "VmRSS:")
}

/// The limits of a control group (version 2) and of all around it. In a container, where the path
/// may be that of the host, the root is the container's own group.
fn limits_of_groups(root: &Path, group: &str) -> impl Iterator<Item = u64> {
    let path = group.lines().find_map(|line| line.strip_prefix("0::/"));
    let path = path.map(|path| root.join(path)).unwrap_or_default();
    let mut groups: Vec<PathBuf> = path.ancestors().map(Path::to_owned).collect();
    groups.retain(|group| group.starts_with(root));
    groups.into_iter().filter_map(|group| {
        let limit = read_to_string(group.join("memory.max")).ok()?;
        // Without a limit it says "max".
        limit.trim().parse().ok()
    })
}

/// A line such as `VmRSS:     1234 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_system_are_read() {
        let status = "Name:\tgeogate\nVmPeak:\t  900 kB\nVmRSS:\t   12 kB\n";
        assert_eq!(kilobytes(status, "VmRSS:"), Some(12 << 10));
        assert_eq!(kilobytes(status, "VmSwap:"), None);
        assert_eq!(kilobytes("VmRSS: many kB\n", "VmRSS:"), None);
    }

    #[test]
    fn every_group_around_the_process_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |group: &str, text: &str| {
            std::fs::create_dir_all(root.path().join(group)).unwrap();
            std::fs::write(root.path().join(group).join("memory.max"), text).unwrap();
        };
        write("", "4000\n");
        write("a", "max\n");
        write("a/b", "3000\n");
        let limits = |group| limits_of_groups(root.path(), group).collect::<Vec<_>>();
        assert_eq!(limits("0::/a/b\n"), [3000, 4000]);
        assert_eq!(limits("0::/\n"), [4000]);
        assert_eq!(limits("1:memory:/x\n0::/host/path\n"), [4000]);
        assert!(limits("1:memory:/x\n").is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_some_memory_and_may_have_more() {
        let resident = resident().unwrap();
        assert!(resident > 0 && memory().unwrap() > resident);
        assert!(open_files() > 0);
    }
}

//! Limits of the operating system for the process, and its current use of memory.

use std::fs::read_to_string;
use std::path::Path;

use super::cgroup::ControlGroups;

/// Returns the maximum number of open files and connections of the process.
#[must_use]
pub fn open_files() -> u64 {
    rlimit::Resource::NOFILE.get_soft().unwrap_or(1024)
}

/// Returns the memory limit of the process in bytes: the smallest one of the limits of its control
/// groups and the memory of the machine.
#[must_use]
pub fn memory() -> Option<u64> {
    memory_below(Path::new("/"))
}

fn memory_below(root: &Path) -> Option<u64> {
    let machine = read_to_string(root.join("proc/meminfo")).unwrap_or_default();
    let allowed = ControlGroups::new(root).memory();
    allowed
        .into_iter()
        .chain(kilobytes(&machine, "MemTotal:"))
        .min()
}

/// Returns the number of processors that the process can keep busy: those that it may run on, or
/// fewer if the quota of a control group allows less time. A fraction is rounded up. At least 1.
#[must_use]
pub fn processors() -> usize {
    let affinity = rustix::thread::sched_getaffinity(None).map(|set| set.count() as usize);
    let usable = affinity.or_else(|_| std::thread::available_parallelism().map(usize::from));
    busy(
        usable.unwrap_or(1),
        ControlGroups::new(Path::new("/")).processors(),
    )
}

fn busy(usable: usize, quota: Option<f64>) -> usize {
    let fewest = quota.and_then(|quota| (1..usable).find(|&number| number as f64 >= quota));
    fewest.unwrap_or(usable).max(1)
}

/// Returns the resident memory of the process in bytes.
#[must_use]
pub fn resident() -> Option<u64> {
    let status = read_to_string("/proc/self/status").ok()?;
    kilobytes(&status, "VmRSS:")
}

/// Parses a line such as `VmRSS:     1234 kB` and returns bytes.
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
    fn memory_is_what_the_group_or_the_machine_has() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = root.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        write("proc/meminfo", "MemTotal:        8 kB\nMemFree: 1 kB\n");
        assert_eq!(memory_below(root.path()), Some(8192));
        write(
            "proc/self/mountinfo",
            "1 1 0:1 / /memory rw - cgroup cgroup rw,memory\n",
        );
        write("proc/self/cgroup", "4:memory:/\n");
        write("memory/memory.limit_in_bytes", "5000\n");
        assert_eq!(memory_below(root.path()), Some(5000));
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(memory_below(root.path()), Some(8192));
    }

    #[test]
    fn a_quota_counts_in_whole_processors() {
        for (usable, quota, expected) in [
            (4, None, 4),
            (4, Some(1.5), 2),
            (4, Some(2.0), 2),
            (4, Some(0.1), 1),
            (2, Some(8.0), 2),
            (0, None, 1),
        ] {
            assert_eq!(busy(usable, quota), expected, "{usable} {quota:?}");
        }
        assert!(processors() >= 1);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_some_memory_and_may_have_more() {
        let resident = resident().unwrap();
        assert!(resident > 0 && memory().unwrap() > resident);
        assert!(open_files() > 0);
    }
}

//! Limits of the control groups that the process runs in, of versions 1 and 2.
//!
//! A limit may be set on the process's own group or on any group around it, and the smallest one
//! applies. The groups are found through the kernel: `/proc/self/cgroup` has the path of the group
//! in each hierarchy; `/proc/self/mountinfo` has the mount point of each hierarchy and the group
//! that is its root. In a container the path may be that of the host; the mount point itself is
//! then the container's group.
//!
//! The root folder of all these files is a parameter, so that tests can use their own.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Control groups of this process.
pub struct ControlGroups {
    root: PathBuf,
    groups: String,
    mounts: String,
}

impl ControlGroups {
    /// Reads the groups from the files below `root`, which is `/` outside of tests.
    pub fn new(root: &Path) -> Self {
        let text = |path: &str| read_to_string(root.join(path)).unwrap_or_default();
        ControlGroups {
            groups: text("proc/self/cgroup"),
            mounts: text("proc/self/mountinfo"),
            root: root.to_owned(),
        }
    }

    /// Smallest memory limit, in bytes.
    pub fn memory(&self) -> Option<u64> {
        let limits = self.folders("memory").into_iter().filter_map(|folder| {
            let own = number(&folder.join("memory.max"));
            own.or_else(|| number(&folder.join("memory.limit_in_bytes")))
        });
        limits.min()
    }

    /// Smallest quota of processor time, in processors: 1.5 is three seconds in two.
    pub fn processors(&self) -> Option<f64> {
        let quotas = self.folders("cpu").into_iter().filter_map(|folder| {
            let (quota, period) = if let Some(text) = read(&folder.join("cpu.max")) {
                let (quota, period) = text.split_once(' ')?;
                // Without a quota it says "max".
                (quota.parse().ok()?, period.parse().ok()?)
            } else {
                // Without a quota it says -1.
                let quota = number(&folder.join("cpu.cfs_quota_us"))?;
                (quota, number(&folder.join("cpu.cfs_period_us"))?)
            };
            (period > 0).then(|| quota as f64 / period as f64)
        });
        quotas.min_by(f64::total_cmp)
    }

    /// Folders of the process's group and of all groups around it, in the version 1 hierarchy of
    /// this controller and in the version 2 hierarchy.
    fn folders(&self, controller: &str) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        for mount in self.mounts.lines().filter_map(Mount::parse) {
            let path = match mount.kind {
                "cgroup" if has(mount.options, controller) => {
                    self.group(|list| has(list, controller))
                }
                "cgroup2" => self.group(str::is_empty),
                _ => continue,
            };
            let top = self.root.join(mount.point.trim_start_matches('/'));
            // If the root of the mount is further down, the path is relative to it.
            let inner = path.and_then(|path| Path::new(path).strip_prefix(mount.begin).ok());
            let group = top.join(inner.unwrap_or(Path::new("")));
            let around = group.ancestors().take_while(|path| path.starts_with(&top));
            folders.extend(around.map(Path::to_owned));
        }
        folders
    }

    /// Path of the process's group in the hierarchy whose list of controllers matches.
    fn group(&self, is_it: impl Fn(&str) -> bool) -> Option<&str> {
        self.groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let controllers = fields.next()?;
            let path = fields.next()?;
            is_it(controllers).then_some(path)
        })
    }
}

fn has(list: &str, controller: &str) -> bool {
    list.split(',').any(|name| name == controller)
}

/// Line of `mountinfo`, as described in `man 5 proc_pid_mountinfo`.
struct Mount<'t> {
    /// Root of the mount within the file system.
    begin: &'t str,
    /// Mount point.
    point: &'t str,
    kind: &'t str,
    /// Options of the file system: the controllers, in version 1.
    options: &'t str,
}

impl<'t> Mount<'t> {
    fn parse(line: &'t str) -> Option<Self> {
        let (mount, tree) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let mut tree = tree.split(' ');
        Some(Mount {
            begin: mount.next()?,
            point: mount.next()?,
            kind: tree.next()?,
            options: tree.nth(1)?,
        })
    }
}

fn read(file: &Path) -> Option<String> {
    let text = read_to_string(file).ok()?;
    Some(text.trim().to_owned())
}

fn number(file: &Path) -> Option<u64> {
    read(file)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a root folder with these files.
    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = root.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        root
    }

    #[track_caller]
    fn check(files: &[(&str, &str)], memory: Option<u64>, processors: Option<f64>) {
        let root = system(files);
        let groups = ControlGroups::new(root.path());
        assert_eq!((groups.memory(), groups.processors()), (memory, processors));
    }

    const V1: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      33 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
                      35 31 0:32 / /sys/fs/cgroup/memory rw shared:5 - cgroup cgroup rw,memory\n";
    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn version_1_has_a_hierarchy_for_each_controller() {
        let no_limit = "9223372036854771712\n";
        check(
            &[
                ("proc/self/mountinfo", V1),
                (
                    "proc/self/cgroup",
                    "4:memory:/a/b\n3:cpuset:/x\n2:cpu,cpuacct:/c\n0::/a\n",
                ),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", no_limit),
                ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "3000\n"),
                ("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "4000\n"),
                ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "1\n"),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
                ("sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_quota_us", "150000\n"),
                ("sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_period_us", "100000\n"),
            ],
            Some(3000),
            Some(1.5),
        );
    }

    #[test]
    fn version_2_has_one_hierarchy() {
        check(
            &[
                ("proc/self/mountinfo", V2),
                ("proc/self/cgroup", "0::/a/b\n"),
                ("sys/fs/cgroup/a/memory.max", "3000\n"),
                ("sys/fs/cgroup/a/cpu.max", "50000 100000\n"),
                ("sys/fs/cgroup/a/b/memory.max", "max\n"),
                ("sys/fs/cgroup/a/b/cpu.max", "200000 100000\n"),
                ("sys/fs/cgroup/b/memory.max", "1\n"),
            ],
            Some(3000),
            Some(0.5),
        );
    }

    #[test]
    fn in_a_container_the_mount_is_its_own_group() {
        // The path is the host's, and the root of the mount is the container's group.
        let mounts = V1.replace(
            " / /sys/fs/cgroup/memory",
            " /docker/1 /sys/fs/cgroup/memory",
        );
        check(
            &[
                ("proc/self/mountinfo", &mounts),
                ("proc/self/cgroup", "4:memory:/docker/1/inner\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "4000\n"),
                ("sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "3000\n"),
            ],
            Some(3000),
            None,
        );
        // The path is the host's, and no part of it is visible.
        check(
            &[
                ("proc/self/mountinfo", V2),
                ("proc/self/cgroup", "0::/kubepods/pod1/container\n"),
                ("sys/fs/cgroup/memory.max", "5000\n"),
                ("sys/fs/cgroup/cpu.max", "max 100000\n"),
            ],
            Some(5000),
            None,
        );
    }

    #[test]
    fn without_control_groups_there_is_no_limit() {
        check(&[], None, None);
        check(&[("proc/self/mountinfo", "nonsense\n1 - \n")], None, None);
    }
}

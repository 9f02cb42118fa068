//! How many bytes this process can still allocate.

use std::fs::read_to_string;

/// The bytes that can be allocated without swapping or being killed; `None` if the system does not tell.
///
/// On Linux this is the least of `MemAvailable`, the rest of the control groups' limits, and the rest of the process's
/// own limits (`ulimit -v`, `ulimit -d`). O(1): it reads a few small files.
#[must_use]
pub fn available_bytes() -> Option<u64> {
    let machine = read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| field(&text, "MemAvailable:"));
    let machine = machine.map(|kibibytes| kibibytes.saturating_mul(1024));
    machine
        .into_iter()
        .chain(control_groups())
        .chain(process_limits())
        .min()
}

/// The rest of the limits on this process's address space and data.
fn process_limits() -> impl Iterator<Item = u64> {
    let limits = read_to_string("/proc/self/limits").unwrap_or_default();
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    [
        ("Max address space", "VmSize:"),
        ("Max data size", "VmData:"),
    ]
    .into_iter()
    .filter_map(move |(limit, used)| limit_left(&limits, limit, field(&status, used)?))
}

/// The rest of the soft limit in a line of `/proc/self/limits`; `None` for "unlimited".
fn limit_left(limits: &str, name: &str, used_kibibytes: u64) -> Option<u64> {
    let numbers = limits.lines().find_map(|line| line.strip_prefix(name))?;
    let soft = numbers.split_whitespace().next()?.parse::<u64>().ok()?;
    Some(soft.saturating_sub(used_kibibytes.saturating_mul(1024)))
}

/// The rest of each memory control group's limit, from this process's own group up to the root.
fn control_groups() -> Vec<u64> {
    let own = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut left = Vec::new();
    for line in own.lines() {
        // hierarchy:controllers:path, with no controllers named in version 2.
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (root, files) = if controllers.is_empty() {
            (
                "/sys/fs/cgroup",
                ["memory.max", "memory.current", "inactive_file"],
            )
        } else if controllers.split(',').any(|name| name == "memory") {
            (
                "/sys/fs/cgroup/memory",
                [
                    "memory.limit_in_bytes",
                    "memory.usage_in_bytes",
                    "total_inactive_file",
                ],
            )
        } else {
            continue;
        };
        let mut path = path.trim_end_matches('/');
        loop {
            left.extend(group(&format!("{root}{path}"), files));
            let Some(cut) = path.rfind('/') else { break };
            path = &path[..cut];
        }
    }
    left
}

fn group(folder: &str, [limit, usage, cache]: [&str; 3]) -> Option<u64> {
    let number = |name: &str| {
        read_to_string(format!("{folder}/{name}"))
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    };
    let stat = read_to_string(format!("{folder}/memory.stat")).unwrap_or_default();
    // Inactive file pages count as used but are dropped on demand.
    let cache = field(&stat, cache).unwrap_or(0);
    Some(number(limit)?.saturating_sub(number(usage)?.saturating_sub(cache)))
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text
        .lines()
        .find(|line| line.split_whitespace().next() == Some(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{available_bytes, field, limit_left};

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "inactive_file 7\ntotal_inactive_file 11\nMemAvailable:   123 kB\n";
        assert_eq!(field(text, "inactive_file"), Some(7));
        assert_eq!(field(text, "MemAvailable:"), Some(123));
        assert_eq!(field(text, "MemFree:"), None);
    }

    #[test]
    fn limits_of_the_process_count() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max data size             unlimited            unlimited            bytes     \n\
                    Max address space         10240                unlimited            bytes     \n";
        assert_eq!(limit_left(text, "Max address space", 4), Some(6144));
        assert_eq!(limit_left(text, "Max address space", 40), Some(0));
        assert_eq!(limit_left(text, "Max data size", 4), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn linux_says_what_is_available() {
        assert!(available_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}

//! The worker gives up every right that decoding does not need, before it sees the first byte of a file.
//!
//! A decoder that a hostile file has taken over can then spoil its own picture and use up its limits, and no more: it reaches
//! no network, starts no program, reads no key and writes no file. What the kernel does not offer is reported, not fatal: old
//! kernels decode too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use landlock::{ABI, Access, AccessFs, AccessNet, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule};

/// Open files: GStreamer's own, and a device with its buffers.
const FILES: u64 = 512;

/// Largest file: drivers share memory through files without a name, decoders write none.
const FILE_SIZE: u64 = 64 << 20;

/// Most memory for data, however much the box has: the largest still, decoded, with room for its file.
const MEMORY: u64 = 4 << 30;

/// CPU seconds a job may take beyond all cores being busy for its whole budget.
const CPU_SLACK: u64 = 10;

/// What plugins, drivers and the loader read. Not the whole of /etc: keys lie there.
const READABLE: [&str; 22] = [
    "/usr",
    "/lib",
    "/lib64",
    "/opt",
    "/nix/store",
    "/run/opengl-driver",
    "/run/udev",
    "/sys",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/drirc",
    "/etc/libva.conf",
    "/etc/glvnd",
    "/etc/vulkan",
    "/etc/nv_tegra_release",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/driver",
    "/proc/devices",
];

/// Beginnings of the names, in /dev, of what decodes, and of what every program needs.
const DEVICES: [&str; 12] =
    ["dri", "nvidia", "nvhost", "nvmap", "video", "media", "dma_heap", "udmabuf", "mali", "null", "zero", "urandom"];

/// Variables with paths of plugins and libraries besides the usual ones.
const PATHS: [&str; 6] = [
    "GST_PLUGIN_PATH",
    "GST_PLUGIN_PATH_1_0",
    "GST_PLUGIN_SYSTEM_PATH",
    "GST_PLUGIN_SYSTEM_PATH_1_0",
    "LD_LIBRARY_PATH",
    "LIBVA_DRIVERS_PATH",
];

/// Encloses this process; to be called while it has one thread. Returns what could not be had, each with the reason.
pub(super) fn enclose() -> Vec<String> {
    // The first to go when memory is short, before the daemon that would lose answers.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    let attempts = [("limits", limits()), ("file system and network (landlock)", landlock()), ("system calls (seccomp)", seccomp())];
    attempts.into_iter().filter_map(|(what, result)| result.err().map(|why| format!("{what}: {why}"))).collect()
}

fn limits() -> Result<(), String> {
    let memory = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_memory(&text)).map_or(MEMORY, |all| all / 4 * 3);
    for (resource, most) in [
        (Resource::Core, 0),
        (Resource::Nofile, FILES),
        (Resource::Fsize, FILE_SIZE),
        // Not the address space: drivers reserve hundreds of gigabytes of it.
        (Resource::Data, memory.min(MEMORY)),
    ] {
        let most = getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).map_err(|e| format!("{resource:?}: {e}"))?;
    }
    Ok(())
}

fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Bounds the CPU time of the coming job, whose wall time is bounded by the daemon.
pub(super) fn limit_cpu(budget: Duration) {
    let used = clock_gettime(ClockId::ProcessCPUTime).tv_sec.max(0) as u64;
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let most = used + budget.as_secs().saturating_mul(cores) + CPU_SLACK;
    // The daemon's watch remains should this fail.
    let _ = setrlimit(Resource::Cpu, Rlimit { current: Some(most), maximum: getrlimit(Resource::Cpu).maximum });
}

fn landlock() -> Result<(), String> {
    let abi = ABI::V6;
    let read = AccessFs::from_read(abi);
    let device = read | AccessFs::WriteFile | AccessFs::IoctlDev;
    let rules = |paths: Vec<PathBuf>, access: BitFlags<AccessFs>| landlock::path_beneath_rules(paths, access);
    let enforce = || {
        Ruleset::default()
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::from_all(abi))?
            .scope(Scope::from_all(abi))?
            .create()?
            .add_rules(rules(readable(), read))?
            .add_rules(rules(devices(), device))?
            .restrict_self()
    };
    match enforce().map_err(|e: landlock::RulesetError| e.to_string())?.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        RulesetStatus::PartiallyEnforced => Err("this kernel offers only a part of it".to_owned()),
        RulesetStatus::NotEnforced => Err("this kernel does not offer it".to_owned()),
    }
}

fn readable() -> Vec<PathBuf> {
    let registry = std::env::var_os("GST_REGISTRY").map(PathBuf::from);
    let paths = PATHS.iter().filter_map(std::env::var_os).flat_map(|paths| std::env::split_paths(&paths).collect::<Vec<_>>());
    READABLE.iter().map(PathBuf::from).chain(registry).chain(paths).collect()
}

fn devices() -> Vec<PathBuf> {
    let names = std::fs::read_dir("/dev").into_iter().flatten().flatten().map(|entry| entry.path());
    let wanted = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        DEVICES.iter().any(|beginning| name.starts_with(beginning))
    };
    names.filter(wanted).collect()
}

/// Whether the box has a device that drivers talk to through sockets of their own.
fn has_devices() -> bool {
    devices().iter().any(|device| !["/dev/null", "/dev/zero", "/dev/urandom"].iter().any(|plain| device == Path::new(plain)))
}

fn seccomp() -> Result<(), String> {
    let arch = std::env::consts::ARCH.try_into().map_err(|_| format!("not supported on {}", std::env::consts::ARCH))?;
    let rules = forbidden().map_err(|e| e.to_string())?;
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).map_err(|e| e.to_string())?;
    let program: seccompiler::BpfProgram = filter.try_into().map_err(|e: seccompiler::BackendError| e.to_string())?;
    seccompiler::apply_filter_all_threads(&program).map_err(|e| e.to_string())
}

/// System calls that no decoder has a use for, and that break out or harm others. A list of what is allowed would break with
/// the next driver; the file system and the network are closed by landlock already.
fn forbidden() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = [
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_send_signal,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_listen,
        libc::SYS_accept,
        libc::SYS_accept4,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_setns,
        libc::SYS_unshare,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_kexec_load,
        libc::SYS_open_by_handle_at,
        libc::SYS_clock_settime,
        libc::SYS_settimeofday,
    ]
    .into_iter()
    .map(|call| (call, Vec::new()))
    .collect();
    let own = u64::from(std::process::id());
    let others = |argument: u8, own: u64| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, own);
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        rules.insert(call, vec![SeccompRule::new(vec![others(0, own)?])?]);
    }
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![others(0, 0)?, others(0, own)?])?]);
    let sockets = if has_devices() {
        vec![SeccompRule::new(vec![others(0, libc::AF_UNIX as u64)?, others(0, libc::AF_NETLINK as u64)?])?]
    } else {
        Vec::new()
    };
    rules.insert(libc::SYS_socket, sockets);
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_box_says_how_much_memory_it_has() {
        assert_eq!(total_memory("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(total_memory("nothing"), None);
    }

    #[test]
    fn keys_are_not_among_what_may_be_read() {
        for key in ["/etc/edgelabel/encord_ed25519", "/etc/shadow", "/home/a/.ssh/id_ed25519", "/var/lib/edgelabel/journal.db", "/root"] {
            assert!(!readable().iter().any(|path| Path::new(key).starts_with(path)), "{key}");
        }
    }
}

//! The kernel's calls about threads and their CPUs.

use std::io;

/// CPUs that the kernel's own set can name.
const CPUS_MAX: usize = libc::CPU_SETSIZE as usize;

/// The CPUs that the calling thread may use, in ascending order.
///
/// # Errors
/// What the kernel says.
pub fn affinity() -> io::Result<Vec<usize>> {
    // SAFETY: all zeros is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes as many bytes as the set has.
    check(unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) })?;
    // SAFETY: CPU_ISSET reads the set, whose size bounds the index.
    Ok((0..CPUS_MAX).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect())
}

/// Keeps the calling thread, and those that it starts, on these CPUs.
///
/// # Errors
/// If there is none of them.
pub fn pin(cpus: &[usize]) -> io::Result<()> {
    // SAFETY: all zeros is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for cpu in cpus {
        // SAFETY: the index is below the set's size.
        unsafe { libc::CPU_SET((*cpu).min(CPUS_MAX - 1), &mut set) };
    }
    // SAFETY: the kernel reads as many bytes as the set has.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) })
}

/// CPU time that the calling thread has used.
#[must_use]
pub fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stays_where_it_is_told_to() {
        let before = affinity().unwrap();
        let last = *before.last().unwrap();
        let kept = std::thread::spawn(move || pin(&[last]).and_then(|()| affinity()));
        assert_eq!(kept.join().unwrap().unwrap(), [last]);
        assert_eq!(affinity().unwrap(), before, "other threads stay free");
        assert!(pin(&[]).is_err());
        let used = thread_cpu_ns();
        assert!(thread_cpu_ns() >= used);
    }
}

//! What the host gives a process: descriptors and CPUs.

use std::time::Duration;

use crate::error::Error;

/// Raises the limit of open descriptors to the hard limit; gives (soft, hard) as they are now.
///
/// # Errors
/// The kernel refuses to tell or to raise it.
pub fn raise_nofile() -> Result<(u64, u64), Error> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is writable.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } < 0 {
        return Err(Error::last_os_error("getrlimit"));
    }
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: the limit is readable.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } < 0 {
            return Err(Error::last_os_error("setrlimit"));
        }
    }
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// How long the calling thread has run on a CPU.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is writable. Every kernel that has io_uring or epoll has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
}

/// Pins the calling thread to `cpu`.
///
/// # Errors
/// `EINVAL` if the CPU is not in the allowed set.
pub fn pin_to_cpu(cpu: usize) -> Result<(), Error> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(Error::Io { op: "sched_setaffinity", errno: libc::EINVAL });
    }
    let mut set = empty_set();
    // SAFETY: the number is below the size of the set.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set is readable for the length that is told; 0 is the calling thread.
    let code = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if code < 0 { Err(Error::last_os_error("sched_setaffinity")) } else { Ok(()) }
}

/// The CPUs that the calling thread may run on, ascending.
///
/// # Errors
/// The kernel refuses to tell.
pub fn affinity_cpus() -> Result<Vec<usize>, Error> {
    let mut set = empty_set();
    // SAFETY: the set is writable for the length that is told; 0 is the calling thread.
    let code = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    if code < 0 {
        return Err(Error::last_os_error("sched_getaffinity"));
    }
    // SAFETY: every number is below the size of the set.
    let allowed = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &set) };
    Ok((0..libc::CPU_SETSIZE as usize).filter(allowed).collect())
}

const fn empty_set() -> libc::cpu_set_t {
    // SAFETY: all zero bytes are the empty set.
    unsafe { std::mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_can_be_pinned_where_it_may_run() {
        let worker = std::thread::spawn(|| {
            let cpus = affinity_cpus().unwrap();
            let last = *cpus.last().unwrap();
            pin_to_cpu(last).unwrap();
            assert_eq!(affinity_cpus().unwrap(), [last]);
            assert!(pin_to_cpu(usize::MAX).is_err());
        });
        worker.join().unwrap();
    }

    #[test]
    fn a_thread_that_works_uses_its_cpu() {
        let before = thread_cpu_time();
        let mut sum = 0_u64;
        while thread_cpu_time() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(thread_cpu_time() > before);
    }

    #[test]
    fn descriptors_reach_the_hard_limit() {
        let (soft, hard) = raise_nofile().unwrap();
        assert_eq!(soft, hard);
    }
}

//! What a send costs: our reactor on io_uring and on epoll.
//!
//! `hot/glommio` runs the same beside tasks of glommio.

mod cores;
mod cpu_time;
mod fanout;
mod ours;

use cpu_time::CpuTime;
use criterion::{Criterion, criterion_group, criterion_main};

criterion_group! {
    name = reactor;
    config = Criterion::default().with_measurement(CpuTime);
    targets = ours::ours
}
criterion_main!(reactor);

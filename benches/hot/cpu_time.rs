//! CPU time of the measuring thread in place of wall time: a wait for the peer costs nothing.
//!
//! User and system time; on loopback that includes the receiving half of TCP, which runs inside
//! the send.

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter};
use rustix::time::{ClockId, clock_gettime};

/// The clock of the calling thread, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuTime;

impl CpuTime {
    pub(crate) fn now() -> u64 {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let nanos = time.tv_sec * 1_000_000_000 + time.tv_nsec;
        u64::try_from(nanos).expect("a thread's clock begins at 0")
    }
}

impl Measurement for CpuTime {
    type Intermediate = u64;
    type Value = u64;

    fn start(&self) -> u64 {
        Self::now()
    }

    fn end(&self, begin: u64) -> u64 {
        Self::now() - begin
    }

    fn add(&self, a: &u64, b: &u64) -> u64 {
        a + b
    }

    fn zero(&self) -> u64 {
        0
    }

    fn to_f64(&self, value: &u64) -> f64 {
        *value as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &Formatter
    }
}

/// Times in microseconds, throughput as what it costs.
struct Formatter;

impl ValueFormatter for Formatter {
    fn scale_values(&self, _typical: f64, values: &mut [f64]) -> &'static str {
        values.iter_mut().for_each(|value| *value /= 1e3);
        "us CPU"
    }

    fn scale_throughputs(
        &self,
        _typical: f64,
        throughput: &Throughput,
        values: &mut [f64],
    ) -> &'static str {
        match throughput {
            Throughput::Bytes(bytes) => {
                // Nanoseconds a byte are seconds a gigabyte.
                values.iter_mut().for_each(|value| *value /= *bytes as f64);
                "CPU s/GB"
            }
            Throughput::Elements(elements) => {
                values.iter_mut().for_each(|value| *value /= *elements as f64);
                "ns CPU each"
            }
            _ => self.scale_for_machines(values),
        }
    }

    fn scale_for_machines(&self, _values: &mut [f64]) -> &'static str {
        "ns CPU"
    }
}

//! Requests: how many the control listener answered, and how long each took.
//!
//! Not here: the contract of `commands`, whose callers are counted by what they order.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use dataplane::metrics::{Histogram, MICROSECONDS};
use http::StatusCode;

use crate::counts::Counts;

/// Classes of status, as labels.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Lives on: the control thread; each connection has a clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(Arc<Mutex<Tally>>);

#[derive(Debug)]
struct Tally {
    answered: [u64; CLASSES.len()],
    took: Histogram,
}

impl Default for Tally {
    fn default() -> Self {
        Self { answered: [0; CLASSES.len()], took: Histogram::new(&MICROSECONDS) }
    }
}

impl Requests {
    fn answered(&self, status: StatusCode, took: Duration) {
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let class = usize::from(status.as_u16() / 100).saturating_sub(2);
        tally.answered[class.min(CLASSES.len() - 1)] += 1;
        tally.took.observe_time(took);
    }

    /// Writes them for `/metrics`.
    pub(crate) fn count(&self, into: &mut Counts) {
        let tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let help = "Requests that the control listener answered, by class of status.";
        let answered = CLASSES.into_iter().zip(tally.answered);
        into.counter_by("api_requests_total", help, "status", answered);
        let help = "From the head of a request to the control listener to that of its answer.";
        into.histogram("api_request_seconds", help, &tally.took);
    }
}

/// Counts a request once it is answered.
pub(super) async fn count(
    State(requests): State<Requests>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let answer = next.run(request).await;
    requests.answered(answer.status(), began.elapsed());
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::Value;

    #[test]
    fn answers_are_counted_by_class() {
        let requests = Requests::default();
        for status in [200, 204, 304, 404, 429, 503, 999] {
            let status = StatusCode::from_u16(status).unwrap();
            requests.answered(status, Duration::from_millis(2));
        }
        let mut counts = Counts::default();
        requests.count(&mut counts);
        let values: Vec<_> = counts.families()[0]
            .samples
            .iter()
            .map(|sample| (sample.label.clone().unwrap().1, sample.value.clone()))
            .collect();
        let class = |name: &str, count| (name.to_owned(), Value::Counter(count));
        assert_eq!(values, [class("2xx", 2), class("3xx", 1), class("4xx", 2), class("5xx", 2)]);
        let Value::Histogram(took) = &counts.families()[1].samples[0].value else { panic!() };
        assert_eq!(took.count(), 7);
    }
}

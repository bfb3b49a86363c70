//! Flights: the messages that are under way, none of which is forgotten.

use std::collections::HashMap;
use std::future::Future;

use tokio::task::{Id, JoinSet};

use super::ledger::Message;

/// The messages that are under way, each on a task of its own.
#[derive(Debug, Default)]
pub(super) struct Flights {
    tasks: JoinSet<bool>,
    messages: HashMap<Id, Message>,
}

impl Flights {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Sends `message` by `tell`, which says whether it was taken.
    pub(super) fn begin<F>(&mut self, message: Message, tell: impl FnOnce(Message) -> F)
    where
        F: Future<Output = bool> + Send + 'static,
    {
        // CONTROL: names, so that a task that panics leaves the message here.
        let task = self.tasks.spawn(tell(message.clone()));
        self.messages.insert(task.id(), message);
    }

    /// The next message whose way is over, and whether it was taken; `None` if none is under way.
    pub(super) async fn over(&mut self) -> Option<(Message, bool)> {
        let (task, taken) = match self.tasks.join_next_with_id().await? {
            Ok(told) => told,
            Err(error) => {
                tracing::error!(reason = %error, "telling the application failed, a bug");
                (error.id(), false)
            }
        };
        Some((self.messages.remove(&task).expect("each task has its message"), taken))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use dataplane::ids::{StreamId, StreamName};

    use super::super::ledger::Ledger;
    use super::super::row::{Phase, Row};
    use super::*;

    #[tokio::test]
    async fn a_message_whose_task_panics_is_told_again() {
        let (mut ledger, mut flights) = (Ledger::default(), Flights::default());
        let (id, channel) = (StreamId([1; 16]), StreamName::parse("cam7").unwrap());
        ledger.ready(id, Row::new(&channel, "640x360-30".to_owned()));
        let rows = ledger.take_unsaved(1, usize::MAX);
        let now = Instant::now();
        ledger.saved(&rows, now);
        flights.begin(ledger.next(now).unwrap(), |message| async move {
            panic!("{message:?} is more than this application bears");
        });
        assert_eq!((flights.len(), ledger.next(now)), (1, None));
        let (message, taken) = flights.over().await.unwrap();
        assert!(!taken);
        ledger.outcome(&message, taken, now);
        let again = ledger.due().expect("it is due again");
        flights.begin(ledger.next(again).unwrap(), |_| async { true });
        let (message, taken) = flights.over().await.unwrap();
        assert_eq!((message.id, message.row.phase, taken), (id, Phase::Available, true));
        assert!(flights.over().await.is_none() && flights.len() == 0);
    }
}

//! Rejoining: what is on the air is asked about again, because the coordinator forgot it with the
//! connection.
//!
//! One that was let in before and is denied now is asked about again for [`REJOIN_MAX`]: until the
//! coordinator has noticed that the earlier connection is dead, it takes the channel for busy.

use std::time::{Duration, Instant};

use dataplane::ids::StreamName;

use super::publication::Word;
use super::table::{Client, Question};
use crate::coordinator::wire::SILENCE_MAX;

/// Questions about what is on the air that are under way at most.
pub const REJOINING_MAX: usize = 64;
/// What was let in before is asked about for this long: a coordinator takes a minute to notice that
/// a connection is dead.
const REJOIN_MAX: Duration = Duration::from_secs(SILENCE_MAX.as_secs() + 15);
/// The pause between two questions about the same.
const PAUSE: Duration = Duration::from_secs(5);
/// A coordinator answers within this; no answer is a no.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(20);

impl Client {
    /// The coordinator is back.
    pub(super) fn rejoin(&mut self, now: Instant) {
        self.rejoin_until = now + REJOIN_MAX;
        // Whoever has to go is not worth a question.
        let stays = self.publications.iter_mut().filter(|(_, it)| it.doomed.is_none());
        for (stream, publication) in stays {
            publication.word = Word::Due(now);
            self.due_again.insert((now, stream.clone()));
        }
        self.ask_again(now);
    }

    /// Asks about those whose time has come, a bounded number at once.
    pub(super) fn ask_again(&mut self, now: Instant) {
        self.give_up_answers(now);
        while self.takes_question() && self.rejoining < REJOINING_MAX {
            let Some((_, stream)) = self.due_again.first().filter(|(at, _)| *at <= now).cloned()
            else {
                return;
            };
            self.due_again.pop_first();
            let Some(publication) = self.publications.get(&stream) else { continue };
            let (key, user) = (publication.key.clone(), publication.user);
            let Some(number) = self.say_request(&stream, &key, user) else {
                self.lost("closed", now);
                return;
            };
            self.rejoining += 1;
            self.questions.insert(number, Question::Again(stream.clone(), now + ANSWER_MAX));
            if let Some(publication) = self.publications.get_mut(&stream) {
                publication.word = Word::Asked(number);
            }
        }
        self.look_later(now);
    }

    /// When [`Self::ask_again`] has something to do.
    pub(super) fn due_rejoining(&self) -> Option<Instant> {
        let answers = self.questions.values().filter_map(|question| match question {
            Question::Again(_, due) => Some(*due),
            Question::Publisher(_) => None,
        });
        let room = self.takes_question() && self.rejoining < REJOINING_MAX;
        let next = self.due_again.first().map(|(at, _)| *at).filter(|_| room);
        answers.chain(next).min()
    }

    /// What was asked about by that number may go on, if it is what there is.
    pub(super) fn accepted_again(
        &mut self,
        stream: &StreamName,
        number: u32,
        id: String,
        now: Instant,
    ) {
        if self.is_asked(stream, number) {
            return self.goes_on(stream, id, now);
        }
        // He left, and may have come back meanwhile as another one.
        match self.publications.contains_key(stream) {
            true => self.end_other(stream, &id, now),
            false => self.say_end(stream.as_str(), &id, now),
        }
        self.ask_again(now);
    }

    /// It goes on, under another number.
    pub(super) fn goes_on(&mut self, stream: &StreamName, id: String, now: Instant) {
        if let Some(publication) = self.publications.get_mut(stream) {
            tracing::info!(%stream, id, "the coordinator has a publication again");
            (publication.id, publication.word) = (id, Word::Accepted);
            self.requests.rejoined += 1;
        }
        self.ask_again(now);
    }

    /// What was asked about by that number is asked about once more, or has to go.
    pub(super) fn denied_again(&mut self, stream: &StreamName, number: u32, now: Instant) {
        let (until, asked) = (self.rejoin_until, self.is_asked(stream, number));
        let Some(publication) = self.publications.get_mut(stream).filter(|_| asked) else {
            return self.ask_again(now);
        };
        // One that was never let in is not what keeps its channel busy.
        if !publication.id.is_empty() && now + PAUSE <= until {
            publication.word = Word::Due(now + PAUSE);
            self.due_again.insert((now + PAUSE, stream.clone()));
        } else {
            tracing::warn!(%stream, "the coordinator does not take a publication again");
            publication.word = Word::Away;
            self.requests.denied += 1;
            self.doom(stream, now);
        }
        self.ask_again(now);
    }

    /// True if what is published as `stream` waits for the answer to that question.
    fn is_asked(&self, stream: &StreamName, number: u32) -> bool {
        self.publications.get(stream).is_some_and(|here| here.word == Word::Asked(number))
    }

    fn give_up_answers(&mut self, now: Instant) {
        let late = |question: &Question| matches!(question, Question::Again(_, due) if *due <= now);
        let late: Vec<u32> = self
            .questions
            .iter()
            .filter(|(_, question)| late(question))
            .map(|(&number, _)| number)
            .collect();
        for number in late {
            let Some(Question::Again(stream, _)) = self.questions.remove(&number) else { continue };
            self.rejoining -= 1;
            self.requests.late += 1;
            // A yes that comes yet is as good as that to the next question.
            let asked = self.is_asked(&stream, number);
            if let Some(publication) = self.publications.get_mut(&stream).filter(|_| asked) {
                publication.word = Word::Due(now);
                self.due_again.insert((now, stream));
            }
        }
    }
}

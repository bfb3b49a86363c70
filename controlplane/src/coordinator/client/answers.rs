//! Answers: what the coordinator says of those whom it was asked about.
//!
//! An answer counts for what was asked by its number alone: the channel may have another publisher
//! since. A publication of which nothing comes here is ended there, by its own number.

use std::time::Instant;

use dataplane::ids::StreamName;

use super::publication::Word;
use super::publisher::Answer;
use super::table::{Client, Question};

impl Client {
    pub(super) fn accepted(&mut self, request: &str, channel: &str, id: String, now: Instant) {
        let stream = StreamName::parse(channel);
        match self.take(request) {
            Some((_, Question::Publisher(publisher)))
                if Some(&publisher.stream) == stream.as_ref() =>
            {
                // Two asked at the same moment, and both may: the channel is the first one's.
                if self.publications.contains_key(&publisher.stream) {
                    self.requests.denied += 1;
                    let _ = publisher.reply.send(Answer::Denied);
                    return self.end_other(&publisher.stream, &id, now);
                }
                if publisher.reply.is_closed() {
                    self.requests.late += 1;
                    return self.say_end(channel, &id, now);
                }
                self.requests.accepted += 1;
                self.let_in(publisher, id, Word::Accepted, now);
            }
            Some((number, Question::Again(asked, _))) if Some(&asked) == stream.as_ref() => {
                self.accepted_again(&asked, number, id, now);
            }
            question => {
                if let Some((number, question)) = question {
                    self.no_answer(number, question, now);
                }
                self.accepted_late(channel, id, now);
            }
        }
    }

    pub(super) fn denied(&mut self, request: &str, now: Instant) {
        if let Some((number, question)) = self.take(request) {
            self.no_answer(number, question, now);
        }
    }

    /// The coordinator has a publication of that channel under `id`: unless it is the one that is
    /// here, it has no publisher.
    pub(super) fn end_other(&mut self, stream: &StreamName, id: &str, now: Instant) {
        let is_here = self.publications.get(stream).is_some_and(|here| here.id == id);
        // Without a number it would be whichever is on the air.
        if !is_here && !id.is_empty() {
            self.say_end(stream.as_str(), id, now);
        }
    }

    /// Something was let in about which nobody waits for an answer any more.
    fn accepted_late(&mut self, channel: &str, id: String, now: Instant) {
        self.requests.late += 1;
        let stream = StreamName::parse(channel);
        let here = stream.and_then(|stream| {
            let word = self.publications.get(&stream)?.word;
            Some((stream, word))
        });
        match here {
            // What was asked about again and has its yes needs no other one.
            Some((stream, Word::Due(at))) => {
                self.due_again.remove(&(at, stream.clone()));
                self.goes_on(&stream, id, now);
            }
            Some((stream, Word::Asked(number))) => {
                self.take(&number.to_string());
                self.goes_on(&stream, id, now);
            }
            Some((stream, Word::Accepted | Word::Away)) => self.end_other(&stream, &id, now),
            // There is nobody, and nobody else could begin meanwhile.
            None => self.say_end(channel, &id, now),
        }
    }

    /// The answer was no, or was about another channel, which is none.
    fn no_answer(&mut self, number: u32, question: Question, now: Instant) {
        match question {
            Question::Publisher(publisher) => {
                self.requests.denied += 1;
                let _ = publisher.reply.send(Answer::Denied);
            }
            Question::Again(stream, _) => self.denied_again(&stream, number, now),
        }
    }

    /// Takes the question of that number.
    fn take(&mut self, request: &str) -> Option<(u32, Question)> {
        let number = request.parse().ok()?;
        let question = self.questions.remove(&number)?;
        if matches!(question, Question::Again(..)) {
            self.rejoining -= 1;
        }
        Some((number, question))
    }
}

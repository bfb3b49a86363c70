//! `play` and what belongs to it, and what the shard answers.
//!
//! `start`: every value plays live, because there is nothing else to play; ffmpeg and librtmp send
//! -2000 where the specification says -2. `duration`: seconds after which the play is complete; 0
//! and less mean as long as the stream lives. `reset`: false leaves `NetStream.Play.Reset` out.

use std::time::{Duration, Instant};

use codecs::amf0::Value;
use codecs::rtmp::command::{Command, Level, code, info};
use codecs::rtmp::message::UserControl;

use super::reply::MSID;
use super::server::Server;
use super::state::{Asking, PlayArgs, Playing, State};
use super::url::illegal;
use crate::Error;
use crate::config::UrlDialect;
use crate::control::Role;
use crate::session::{Event, Refusal};

/// What a player hears that would make others suffer.
const NO_ROOM: &str = "the server has no room for another player, try again later";
/// A longer play than this has no end.
const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

impl Server {
    pub(super) fn play(&mut self, now: Instant, msid: u32, command: &Command) -> Result<(), Error> {
        let args = &command.args;
        let duration = args.get(2).and_then(Value::as_f64);
        let reset = args.get(3).is_none_or(|reset| match reset {
            Value::Boolean(reset) => *reset,
            Value::Number(number) => *number != 0.0,
            _ => true,
        });
        let name = command.first_str().unwrap_or_default();
        self.play_stream(now, msid, name, PlayArgs { duration: seconds(duration), reset })
    }

    /// `play2` carries an object; to start with it is the same, to switch streams is not offered.
    pub(super) fn play2(
        &mut self,
        now: Instant,
        msid: u32,
        command: &Command,
    ) -> Result<(), Error> {
        if !matches!(self.state, State::Connected) {
            self.replies.error(msid, code::PLAY_FAILED, "a stream cannot be switched");
            return Ok(());
        }
        let options = command.args.first();
        let member = |key| options.and_then(|options| options.get(key));
        let name = member("streamName").and_then(Value::as_str).unwrap_or_default().to_owned();
        let duration = seconds(member("len").and_then(Value::as_f64));
        self.play_stream(now, msid, &name, PlayArgs { duration, reset: true })
    }

    fn play_stream(
        &mut self,
        now: Instant,
        msid: u32,
        name: &str,
        args: PlayArgs,
    ) -> Result<(), Error> {
        if !matches!(self.state, State::Connected) {
            let text = "this connection publishes or plays already";
            self.replies.error(msid, code::PLAY_FAILED, text);
            return Err(self.misbehaved("play"));
        }
        if msid != MSID {
            self.replies.error(msid, code::PLAY_FAILED, "createStream gave another stream id");
            return Err(Error::Rejected("bad_stream_id"));
        }
        let Some(target) = self.address.target(name, &self.terms.session) else {
            let code = match self.terms.session.url {
                UrlDialect::Name => code::PLAY_STREAM_NOT_FOUND,
                UrlDialect::ChannelKey => code::PLAY_BAD_NAME,
            };
            self.replies.error(msid, code, illegal(self.terms.session.url));
            return Err(Error::Rejected("bad_name"));
        };
        self.ask(now, Role::Play, target, msid, args);
        Ok(())
    }

    pub(super) fn play_started(&mut self, now: Instant, asking: Asking) {
        let playing = Playing::new(now, asking);
        self.greet_player(&playing);
        self.transition(State::Playing(playing), "play_started");
    }

    /// The player waits for its stream, and hears nothing of it.
    pub(super) fn play_idle(&mut self, now: Instant, asking: Asking) {
        let playing = Playing { idle: true, ..Playing::new(now, asking) };
        self.transition(State::Playing(playing), "play_idle");
    }

    /// The stream that was waited for is there: what the player asked for meanwhile holds.
    pub(super) fn play_began(&mut self) {
        let state = std::mem::replace(&mut self.state, State::Connected);
        let State::Playing(mut playing) = state else {
            self.state = state;
            return;
        };
        playing.idle = false;
        self.greet_player(&playing);
        let Playing { audio, video, paused, .. } = playing;
        if !(audio && video) {
            self.events.push_back(Event::Filter { audio, video });
        }
        if paused {
            self.events.push_back(Event::Pause);
        }
        self.transition(State::Playing(playing), "play_started");
    }

    /// The stream ended, but its player waits for the next one of that name.
    pub(super) fn play_waits_again(&mut self) {
        self.play_over("the stream ended");
        if let State::Playing(playing) = &mut self.state {
            playing.idle = true;
        }
        tracing::debug!(state = self.state.name(), event = "play_idle", "rtmp session");
    }

    /// What a player hears before the first byte of its stream.
    fn greet_player(&mut self, playing: &Playing) {
        let name = playing.stream.as_str();
        self.replies.user_control(UserControl::StreamBegin(MSID));
        if playing.reset {
            self.replies.status(MSID, code::PLAY_RESET, &format!("playing and resetting {name}"));
        }
        let text = format!("started playing {name}");
        self.replies.status_of(MSID, code::PLAY_START, &text, name);
        let access = Value::Boolean(false);
        self.replies.data(&[Value::from("|RtmpSampleAccess"), access.clone(), access]);
    }

    pub(super) fn play_refused(&mut self, refusal: Refusal) {
        let (code, text) = match refusal {
            // Players of the coordinator's contract know one word for a wrong key.
            Refusal::Denied | Refusal::Anonymous | Refusal::WrongKey
                if self.terms.session.url == UrlDialect::ChannelKey =>
            {
                (code::PLAY_BAD_NAME, "not allowed to play this")
            }
            Refusal::Denied | Refusal::Anonymous | Refusal::WrongKey => {
                (code::PLAY_FAILED, "not allowed to play this")
            }
            Refusal::NotFound => (code::PLAY_STREAM_NOT_FOUND, "no such stream"),
            Refusal::NoTrack => (code::PLAY_STREAM_NOT_FOUND, "the stream has no such track"),
            Refusal::Busy => (code::PLAY_FAILED, "the stream is busy"),
            Refusal::Overloaded => (code::PLAY_FAILED, "the server has no room"),
            Refusal::Full => (code::PLAY_FAILED, NO_ROOM),
            Refusal::Unavailable => (code::PLAY_FAILED, "nobody can authorise this now"),
            Refusal::Timeout => (code::PLAY_FAILED, "authorisation took too long"),
            Refusal::Draining => (code::PLAY_FAILED, "the server goes down"),
        };
        self.replies.error(MSID, code, text);
        if refusal == Refusal::Full {
            // It is the connection that has no place here, not the stream that cannot be played. At
            // `connect` this could not be said: publishers connect alike.
            self.replies.error(0, code::CONNECT_REJECTED, NO_ROOM);
        }
    }

    /// The duration that the player asked for is over.
    pub(super) fn play_complete(&mut self, now: Instant) {
        let status = info::<&str>(Level::Status, code::PLAY_COMPLETE, "the duration is over", []);
        self.replies.data(&[Value::from("onPlayStatus"), status]);
        self.replies.status(MSID, code::PLAY_STOP, "the duration is over");
        self.replies.user_control(UserControl::StreamEof(MSID));
        self.events.push_back(Event::PlayEnded);
        self.deadline = now + self.terms.session.connect_deadline;
        self.transition(State::Connected, "play_complete");
    }

    /// The stream is over for a player, whatever ended it.
    pub(super) fn play_over(&mut self, text: &str) {
        self.replies.status(MSID, code::PLAY_UNPUBLISH_NOTIFY, text);
        self.replies.user_control(UserControl::StreamEof(MSID));
    }

    /// `pause(flag, ms)`; the cursor stops, or goes on at the newest join point.
    pub(super) fn pause(&mut self, command: &Command) {
        let State::Playing(playing) = &mut self.state else { return };
        let pause = command.args.first().and_then(Value::as_bool).unwrap_or(!playing.paused);
        let changed = playing.paused != pause && !playing.idle;
        playing.paused = pause;
        if pause {
            self.replies.user_control(UserControl::StreamEof(MSID));
            self.replies.status(MSID, code::PAUSE_NOTIFY, "paused");
        } else {
            self.replies.user_control(UserControl::StreamBegin(MSID));
            self.replies.status(MSID, code::UNPAUSE_NOTIFY, "resumed");
        }
        if changed {
            let (event, word) =
                if pause { (Event::Pause, "pause") } else { (Event::Resume, "resume") };
            tracing::debug!(state = self.state.name(), event = word, "rtmp session");
            self.events.push_back(event);
        }
    }

    /// A live stream has one position: the peer hears that it is there, and goes on.
    pub(super) fn seek(&mut self, command: &Command) {
        let ms = command.args.first().and_then(Value::as_f64).unwrap_or_default();
        self.replies.status(MSID, code::SEEK_NOTIFY, &format!("seek to {ms} ms stays live"));
        if matches!(self.state, State::Playing(Playing { idle: false, .. })) {
            self.replies.status(MSID, code::PLAY_START, "playing live");
        }
    }

    /// `receiveAudio(flag)` and `receiveVideo(flag)`.
    pub(super) fn receive(&mut self, command: &Command) {
        let State::Playing(playing) = &mut self.state else { return };
        let wanted = command.args.first().and_then(Value::as_bool).unwrap_or(true);
        let before = (playing.audio, playing.video);
        if command.name == "receiveAudio" {
            playing.audio = wanted;
        } else {
            playing.video = wanted;
        }
        let (audio, video, idle) = (playing.audio, playing.video, playing.idle);
        if wanted && !idle {
            // Flash expects both after it switched a medium on again.
            self.replies.status(MSID, code::SEEK_NOTIFY, "the medium is switched on");
            self.replies.status(MSID, code::PLAY_START, "playing live");
        }
        if (audio, video) != before && !idle {
            self.events.push_back(Event::Filter { audio, video });
        }
    }
}

/// A play's duration; what is no positive number has no end.
fn seconds(number: Option<f64>) -> Option<Duration> {
    let number = number.filter(|number| *number > 0.0)?;
    Duration::try_from_secs_f64(number).ok().filter(|duration| *duration <= DURATION_MAX)
}

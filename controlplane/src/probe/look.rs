//! Look: the conversation of a probe, from the address to the report.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dataplane::config::Limits;
use dataplane::session::rtmp::client::{Address, Client, ClientConfig, ClientEvent, Intent};

use super::report;
use super::survey::Survey;
use super::wire::{Incoming, Trouble, Wire};
use crate::cli::Probe;
use crate::error::Error;

/// A stream is watched for this long from its first frame.
const WATCH: Duration = Duration::from_secs(3);

/// Plays the stream and prints what came.
///
/// Errors: one line that says which step failed.
pub fn probe(args: &Probe) -> Result<ExitCode, Error> {
    let address = Address::parse(&args.url).map_err(|error| Error::Probe {
        url: "URL".to_owned(),
        what: format!("not an address: {}", wrong_part(error.reason())),
        mend: "write rtmp://HOST/APP/NAME or rtmps://HOST/APP/NAME".to_owned(),
    })?;
    let url = shown(&address);
    let mut survey = Survey::new(Instant::now());
    look(args, address, &mut survey).map_err(|(what, mend)| Error::Probe {
        url: url.clone(),
        what,
        mend: mend.to_owned(),
    })?;
    let text = match args.json {
        true => report::json(&url, &survey),
        false => report::text(&url, &survey),
    };
    // A reader that closed the pipe has read enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// The address without the query of its stream, which may hold a key.
fn shown(address: &Address) -> String {
    let name = address.stream.0.split('?').next().unwrap_or_default();
    match name {
        "" => address.tc_url.clone(),
        name => format!("{}/{name}", address.tc_url),
    }
}

fn wrong_part(word: &str) -> &'static str {
    match word {
        "address_scheme" => "it starts with neither rtmp:// nor rtmps://",
        "address_host" => "the host is missing or wrong",
        "address_port" => "the port is no number from 1 to 65535",
        "address_path" => "the path is missing",
        _ => "it is too long, or has spaces or control letters",
    }
}

fn look(args: &Probe, address: Address, survey: &mut Survey) -> Result<(), Trouble> {
    let began = Instant::now();
    let deadline = began + args.timeout;
    let mut wire = Wire::connect(&address, args.ca.as_deref(), deadline)?;
    survey.connected = Some(survey.elapsed(Instant::now()));
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| (format!("no random bytes: {error}"), "the system must give them"))?;
    let intent = Intent::Play { start: -2.0, duration: -1.0, reset: true };
    let config = ClientConfig { deadline: args.timeout, ..ClientConfig::default() };
    let limits = Limits::default();
    let client = Client::new(Instant::now(), address, intent, &config, &limits, seed);
    let mut talk = Talk { client, refusal: None, ended: false };
    let mut plain = Vec::new();
    loop {
        let now = Instant::now();
        let watched = survey.first_frame.map(|at| began + at + WATCH);
        let until = watched.unwrap_or(deadline);
        if now >= until || talk.ended {
            break;
        }
        talk.send(&mut wire, until)?;
        if wire.receive(&mut plain, until)? == Incoming::End {
            talk.ended = true;
        }
        let now = Instant::now();
        talk.take(&mut plain, survey, now)?;
        talk.client.handle_timeout(now).map_err(|error| talk.trouble(&error))?;
    }
    match (survey.first_frame, survey.accepted, talk.ended) {
        (Some(_), ..) => Ok(()),
        (None, None, true) if talk.refusal.is_none() => Err((
            "the server closed the connection before it answered".to_owned(),
            "check that the server speaks this protocol on this port",
        )),
        (None, _, true) => Err((
            talk.refusal.unwrap_or_else(|| "the stream ended without a frame".to_owned()),
            "check the name of the stream and that somebody publishes it",
        )),
        (None, Some(_), false) => Err((
            format!("no frame within {} s", args.timeout.as_secs_f64()),
            "check that the publisher sends, or give --timeout more",
        )),
        (None, None, false) => Err((
            format!("no answer within {} s", args.timeout.as_secs_f64()),
            "check that the server speaks RTMP on this port, or give --timeout more",
        )),
    }
}

/// The client, and what the server said last.
struct Talk {
    client: Client,
    refusal: Option<String>,
    ended: bool,
}

impl Talk {
    fn send(&mut self, wire: &mut Wire, until: Instant) -> Result<(), Trouble> {
        let mut out = Vec::new();
        if self.client.poll_transmit(&mut out) {
            wire.send(&out, until)?;
        }
        Ok(())
    }

    /// Gives received bytes to the client; what it does not take yet stays.
    fn take(
        &mut self,
        plain: &mut Vec<u8>,
        survey: &mut Survey,
        now: Instant,
    ) -> Result<(), Trouble> {
        let mut at = 0;
        loop {
            let taken = self.client.handle_bytes(&plain[at..]);
            let events = self.events(survey, now);
            at += taken.map_err(|error| self.trouble(&error))?;
            if at == plain.len() || !events {
                break;
            }
        }
        plain.drain(..at);
        Ok(())
    }

    /// Takes the client's events; true if there were any.
    fn events(&mut self, survey: &mut Survey, now: Instant) -> bool {
        let mut any = false;
        while let Some(event) = self.client.poll_event() {
            any = true;
            match event {
                ClientEvent::PlayStarted => {
                    survey.accepted.get_or_insert(survey.elapsed(now));
                }
                ClientEvent::Media(media) => survey.media(&media, now),
                ClientEvent::Status { level, code, description, .. } => {
                    if level == "error" || code.ends_with("UnpublishNotify") {
                        let description = match description.as_str() {
                            "" => String::new(),
                            text => format!(" ({})", shortened(text)),
                        };
                        self.refusal =
                            Some(format!("the server says {}{description}", shortened(&code)));
                    }
                }
                ClientEvent::StreamEof => self.ended = true,
                ClientEvent::Connected { .. }
                | ClientEvent::PublishStarted
                | ClientEvent::Data { .. }
                | ClientEvent::CallResult { .. }
                | ClientEvent::Called { .. } => {}
            }
        }
        any
    }

    /// The server's own words if it gave any, else the client's.
    fn trouble(&self, error: &dataplane::Error) -> Trouble {
        match &self.refusal {
            Some(words) => (words.clone(), "check the name of the stream and its key"),
            None => (error.to_string(), "check that the server speaks RTMP on this port"),
        }
    }
}

/// A peer's text, fit for a line of a terminal.
fn shortened(text: &str) -> String {
    const LETTERS_MAX: usize = 120;
    text.chars().filter(|letter| !letter.is_control()).take(LETTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_shown() {
        for (url, text) in [
            ("rtmp://h/live/cam?key=secret", "rtmp://h/live/cam"),
            ("rtmps://h:1/live/cam", "rtmps://h:1/live/cam"),
            ("rtmp://h/cam?key=secret", "rtmp://h/cam"),
        ] {
            assert_eq!(shown(&Address::parse(url).unwrap()), text);
        }
    }

    #[test]
    fn a_peers_text_fits_a_line() {
        assert_eq!(shortened("a\nb\u{1b}[31m"), "ab[31m");
        assert_eq!(shortened(&"x".repeat(1_000)).len(), 120);
    }
}

//! The commands: which options each takes, and what its help says.

use std::fmt::Write;

use super::option::{
    CHECK_TS, CROWD, DURATION, EVERYWHERE, Entry, Group, IMPAIRMENT, KNEE, MIRROR, MIX, PLAY_TIME,
    PLAYERS, PUBLISHER, RELAY, SERVER, SLOW, SOAK, STORM, STREAM, STREAMS, THREADS, TLS, WHERE,
    WINDOW,
};

/// A command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) name: &'static str,
    synopsis: &'static str,
    /// One line.
    summary: &'static str,
    /// What else is to be known.
    about: &'static str,
    groups: &'static [Group],
}

const COMMANDS: [Command; 12] = [
    Command {
        name: "publish",
        synopsis: "--url rtmp[s]://HOST[:PORT]/APP/NAME[?QUERY] | srt://HOST[:PORT]?streamid=ID",
        summary: "publish synthetic streams",
        about: "Frames follow an absolute schedule and are stamped when they are sent.\n\
                srt:// takes &passphrase=, &pbkeylen=16|24|32 and &latency=MS, too.",
        groups: &[WHERE, STREAM, DURATION, TLS, THREADS],
    },
    Command {
        name: "play",
        synopsis: "--url URL",
        summary: "play a stream that is published already",
        about: "Prints what one crowd of players got.",
        groups: &[WHERE, STREAMS, PLAYERS, PLAY_TIME, SERVER, TLS, THREADS],
    },
    Command {
        name: "fanout",
        synopsis: "--url URL [--players N,N..] [--server-pid PID]",
        summary: "publish and play, for each number of players",
        about: "Prints what each number of players got, and what the server spent on them.",
        groups: &[WHERE, STREAM, PUBLISHER, PLAYERS, WINDOW, SERVER, TLS, THREADS],
    },
    Command {
        name: "mixed",
        synopsis: "--url rtmp://.. --http http://HOST[:PORT]/ [--mix LIST] [--streams N]",
        summary: "the same with several formats and streams at once",
        about: "Players are dealt to the formats by their shares and to the streams by --skew.\n\
                Without --mix they are rtmp=50,flv=20,ws=5,ts=5,hls=20; srt=N needs --srt. Prints\n\
                what each format got, too.",
        groups: &[WHERE, MIX, STREAM, PUBLISHER, PLAYERS, WINDOW, SERVER, TLS, THREADS],
    },
    Command {
        name: "soak",
        synopsis: "--url URL --server-pid PID [--duration 30m] [--slope-max 1M]",
        summary: "a long run that finds leaks",
        about: "Tells the slope of the server's resident memory with its 95 % confidence. Ends\n\
                with 1 if all of that confidence lies above --slope-max, if there are too few\n\
                samples for a slope, if a player is lost or stalls, or if anything is wrong with\n\
                what came: frames lost, changed, twice or in disorder, faults by TR 101 290.",
        groups: &[WHERE, MIX, STREAM, PUBLISHER, PLAYERS, SOAK, SERVER, TLS, THREADS],
    },
    Command {
        name: "find-knee",
        synopsis: "--url URL [--p99-max 200ms] [--mix LIST]",
        summary: "how many players hold",
        about: "Raises the number of players until one is refused or lost or stalls, anything is\n\
                wrong with what came, or the p99 latency is too high or cannot be told; then\n\
                searches between the last number that held and the first that did not. Prints\n\
                the most players that hold, and what broke beyond them.",
        groups: &[WHERE, MIX, STREAM, PUBLISHER, CROWD, KNEE, WINDOW, SERVER, TLS, THREADS],
    },
    Command {
        name: "slow",
        synopsis: "--url URL [--slow 20%] [--slow-rate 25% | --stop]",
        summary: "players who read too slowly beside others who do not",
        about: "Ends with 1 if one of the others is lost or stalls, or gets anything wrong.\n\
                What the server does to the slow ones is told and judged by nobody.",
        groups: &[WHERE, MIX, STREAM, PUBLISHER, PLAYERS, SLOW, WINDOW, SERVER, TLS, THREADS],
    },
    Command {
        name: "storm",
        synopsis: "--url URL [--ramp N] [--rounds N]",
        summary: "everybody connects, leaves, and comes again at once",
        about: "Players connect at --ramp a second; then, round after round, all of them leave\n\
                at once and come again at once. Prints for each round how long joining took,\n\
                and who was refused or lost why.",
        groups: &[WHERE, MIX, STREAM, PUBLISHER, PLAYERS, STORM, WINDOW, SERVER, TLS, THREADS],
    },
    Command {
        name: "mirror",
        synopsis: "--url http://HOST[:PORT]/NAME/index.m3u8 --into DIR",
        summary: "keep a copy of a stream's playlists and segments in a folder",
        about: "Every file appears whole, so that another server can serve the folder meanwhile.",
        groups: &[MIRROR],
    },
    Command {
        name: "check-ts",
        synopsis: "FILE | -",
        summary: "judge an MPEG transport stream by TR 101 290",
        about: "Checks the indicators of priorities 1 and 2, and lists the tracks and units of\n\
                the stream; ends with 1 if an indicator tells a fault.",
        groups: &[CHECK_TS],
    },
    Command {
        name: "impair",
        synopsis: "--listen HOST:PORT --to HOST:PORT --udp | --tcp",
        summary: "relay datagrams or connections over a bad network",
        about: "Each client has a path of its own. What becomes of a packet depends on the seed,\n\
                the numbers of client and packet, and the direction, and on nothing else. Prints\n\
                at its end what it did, and how late it was itself.",
        groups: &[RELAY, IMPAIRMENT],
    },
    Command {
        name: CANONICAL,
        synopsis: "",
        summary: "publish, play 1000 times for 10 s, print three numbers",
        about: "Publishes rtmp://127.0.0.1:1935/live/load and prints players per core, p99\n\
                latency and dropped frames, and what a player costs in memory. The first and the\n\
                last need --server-pid or --server-api; players held stand for them without. Ends\n\
                with 1 if a player is lost.",
        groups: &[SERVER, TLS, THREADS],
    },
];

/// What there is without a command.
pub(super) const CANONICAL: &str = "";

const URLS: &str = "
URL of a player:
  rtmp[s]://HOST[:PORT]/APP/NAME          RTMP
  http[s]://HOST[:PORT]/NAME.flv          FLV over HTTP
  ws[s]://HOST[:PORT]/NAME.flv            FLV over WebSocket
  http[s]://HOST[:PORT]/NAME.ts           MPEG-TS over HTTP
  http[s]://HOST[:PORT]/NAME/index.m3u8   HLS, as a player follows it
  srt://HOST[:PORT]?streamid=ID           SRT; &passphrase=, &pbkeylen=16|24|32, &latency=MS
";

impl Command {
    /// The one that is called so.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        COMMANDS.iter().find(|command| command.name == name)
    }

    /// Whether it has such an option.
    pub(super) fn takes(&self, option: &str) -> bool {
        self.options().any(|entry| entry.name == option)
    }

    fn options(&self) -> impl Iterator<Item = &'static Entry> {
        self.groups.iter().chain([&EVERYWHERE]).flat_map(|group| group.entries)
    }

    /// What its `--help` prints.
    pub(super) fn usage(&self) -> String {
        let Self { name, synopsis, about, groups, .. } = self;
        let mut text = format!("grandstand-load {name} {synopsis}\n\n{about}\n");
        if self.takes("url") && *name != "publish" && *name != "mirror" {
            text.push_str(URLS);
        }
        for Group { title, entries } in groups.iter().chain([&EVERYWHERE]) {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n{title}:\n");
            for Entry { name, value, about } in *entries {
                let _ = writeln!(text, "  {:<22} {about}", format!("--{name} {value}"));
            }
        }
        text
    }
}

/// What `--help` prints without a command.
pub(super) fn overview() -> String {
    let mut text = "grandstand-load: a load generator for live streams\n\n".to_owned();
    for Command { name, summary, .. } in [&COMMANDS[11]].into_iter().chain(&COMMANDS[..11]) {
        let _ = writeln!(text, "  grandstand-load {name:<10} {summary}");
    }
    text.push_str(URLS);
    text.push_str("\ngrandstand-load COMMAND --help tells what each takes.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_a_terminal_and_names_every_option_once() {
        assert!(overview().lines().all(|line| line.chars().count() <= 100));
        for command in &COMMANDS {
            let usage = command.usage();
            assert!(usage.lines().all(|line| line.chars().count() <= 100), "{usage}");
            for entry in command.options() {
                let name = format!("  --{} ", entry.name);
                assert_eq!(usage.matches(&name).count(), 1, "{}: {name}", command.name);
            }
        }
    }
}

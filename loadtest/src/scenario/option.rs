//! The options of the command line: what they are called, and what the help says of them.

/// An option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    /// What stands behind it; nothing if it is a switch.
    pub(super) value: &'static str,
    pub(super) about: &'static str,
}

const fn entry(name: &'static str, value: &'static str, about: &'static str) -> Entry {
    Entry { name, value, about }
}

/// Options that belong together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) entries: &'static [Entry],
}

pub(super) const WHERE: Group =
    Group { title: "where", entries: &[entry("url", "URL", "the stream; of several, NAME-0 ...")] };

pub(super) const STREAM: Group = Group {
    title: "what is published",
    entries: &[
        entry("streams", "N", "streams, named NAME-0 and so on if more than one  [1]"),
        entry("size", "WxH", "width and height of the pictures  [1280x720]"),
        entry("bitrate", "RATE", "bits per second of each, such as 800k or 2M  [2M]"),
        entry("fps", "N", "frames per second  [30]"),
        entry("gop", "TIME", "from keyframe to keyframe, such as 2s  [2s]"),
        entry("audio", "", "add a sound track"),
        entry("file", "FILE", "publish this FLV again and again instead of synthetic media"),
        entry("no-stamp", "", "leave its pictures as they are: no latency, no loss is known"),
        entry("publish-ramp", "N", "streams that connect in a second  [200]"),
    ],
};

pub(super) const PUBLISHER: Group = Group {
    title: "who publishes",
    entries: &[
        entry("publish-url", "URL", "where to publish  [--url, if rtmp]"),
        entry("no-publish", "", "somebody else publishes"),
    ],
};

pub(super) const STREAMS: Group = Group {
    title: "what is played",
    entries: &[entry("streams", "N", "streams that the players take turns with  [1]")],
};

pub(super) const PLAYERS: Group = Group {
    title: "who plays",
    entries: &[
        entry("players", "N[,N..]", "players; fanout and mixed take several numbers  [1000]"),
        entry("ramp", "N", "players that connect in a second  [500]"),
        entry("sampled", "N|P%", "players that check every frame: a number or a share  [10]"),
        entry("skew", "S", "stream K has 1/K^S of the first one's players  [0: all alike]"),
        entry("hold", "", "players of HLS ask for one playlist and keep their connection"),
    ],
};

pub(super) const MIX: Group = Group {
    title: "in which formats",
    entries: &[
        entry("mix", "LIST", "shares, such as rtmp=50,flv=20,ws=5,ts=5,hls=20"),
        entry("http", "URL", "where NAME.flv, NAME.ts and NAME/index.m3u8 are, of a mix"),
        entry("srt", "URL", "where APP/NAME is by SRT, of a mix: srt://HOST[:PORT][?latency=MS]"),
    ],
};

pub(super) const PLAY_TIME: Group = Group {
    title: "how long",
    entries: &[
        entry("duration", "TIME", "how long to watch once all play  [10s]"),
        entry("window", "TIME", "the same"),
    ],
};

pub(super) const DURATION: Group = Group {
    title: "how long",
    entries: &[entry("duration", "TIME", "without it until interrupted")],
};

pub(super) const WINDOW: Group = Group {
    title: "how long",
    entries: &[
        entry("window", "TIME", "how long each step is watched once all play  [10s]"),
        entry("duration", "TIME", "the same"),
    ],
};

pub(super) const SERVER: Group = Group {
    title: "the server",
    entries: &[
        entry("server-pid", "PID", "measure CPU and memory of this process"),
        entry("softirq-cpu", "N", "add the time of ksoftirqd of this CPU"),
        entry(
            "server-api",
            "URL",
            "ask a Grandstand too: http[s]://HOST:PORT of its control listener",
        ),
        entry("token-file", "FILE", "the token that it wants"),
        entry("server-name", "WORDS", "what results call the server  [what its API says]"),
    ],
};

pub(super) const SOAK: Group = Group {
    title: "how long, and what may grow",
    entries: &[
        entry("duration", "TIME", "how long to watch once all play  [30m]"),
        entry("warm-up", "TIME", "what memory may do before it is looked at  [60s]"),
        entry("interval", "TIME", "how often memory is looked at  [10s]"),
        entry("slope-max", "BYTES", "growth of memory in a minute that is a failure  [1M]"),
        entry("churn", "N", "players that leave and come again in a second  [0]"),
    ],
};

pub(super) const KNEE: Group = Group {
    title: "how far",
    entries: &[
        entry("players-min", "N", "players to begin with  [500]"),
        entry("players-max", "N", "players to end with, if all of them hold  [20000]"),
        entry("grow", "P%", "how many more each step has until one does not hold  [50%]"),
        entry("precision", "P%", "how exactly the knee is to be found  [5%]"),
        entry("p99-max", "TIME", "p99 latency that still holds  [200ms]"),
    ],
};

pub(super) const CROWD: Group = Group {
    title: "who plays",
    entries: &[
        entry("ramp", "N", "players that connect in a second  [500]"),
        entry("sampled", "N|P%", "players that check every frame: a number or a share  [10]"),
        entry("skew", "S", "stream K has 1/K^S of the first one's players  [0: all alike]"),
    ],
};

pub(super) const SLOW: Group = Group {
    title: "who is slow",
    entries: &[
        entry("slow", "P%", "share of players who read slowly  [20%]"),
        entry("slow-rate", "P%|RATE", "how fast: a share of --bitrate, or bits a second  [25%]"),
        entry("stop", "", "they stop to read once they have a frame"),
    ],
};

pub(super) const STORM: Group = Group {
    title: "how it storms",
    entries: &[
        entry("rounds", "N", "how often everybody leaves and comes again  [3]"),
        entry("pause", "TIME", "how long nobody is there in between  [at once]"),
        entry("reconnect", "N", "players that come again in a second  [all at once]"),
    ],
};

pub(super) const TLS: Group = Group {
    title: "TLS",
    entries: &[
        entry("tls-ca", "FILE", "believe certificates of these authorities (PEM)  [the system's]"),
        entry("tls-insecure", "", "believe any certificate"),
    ],
};

pub(super) const MIRROR: Group = Group {
    title: "where to",
    entries: &[
        entry("url", "URL", "the playlist"),
        entry("into", "DIR", "the folder"),
        entry("duration", "TIME", "without it until interrupted"),
    ],
};

pub(super) const RELAY: Group = Group {
    title: "from where to where",
    entries: &[
        entry("listen", "HOST:PORT", "where clients come"),
        entry("to", "HOST:PORT", "where the server is"),
        entry("udp", "", "relay datagrams"),
        entry("tcp", "", "relay connections"),
        entry("direction", "WHICH", "impair up (to the server), down or both  [both]"),
        entry("duration", "TIME", "without it until interrupted"),
        entry("seed", "N", "the same seed decides the same of the same packets  [0]"),
    ],
};

pub(super) const IMPAIRMENT: Group = Group {
    title: "how badly",
    entries: &[
        entry("delay", "TIME", "how long a packet is on its way, such as 40ms  [at once]"),
        entry("jitter", "TIME", "up to how much more or less, evenly  [none]"),
        entry("rate", "RATE", "bits per second that pass, such as 5M  [all]"),
        entry("queue", "BYTES", "what may wait for that; --tcp: be on its way  [262144]"),
        entry("stall", "TIME", "nothing moves for so long"),
        entry("every", "TIME", "from the start of a stall to the next"),
        entry("loss", "P%", "--udp: how likely a packet is lost  [0%]"),
        entry("burst", "PACKETS", "--udp: losses come in bursts of so many, on average  [alone]"),
        entry("duplicate", "P%", "--udp: how likely it comes twice  [0%]"),
        entry("reorder", "P%", "--udp: how likely it is not delayed, so overtakes  [0%]"),
        entry("cut-after", "BYTES", "--tcp: reset each connection after so many"),
    ],
};

pub(super) const CHECK_TS: Group = Group {
    title: "rules",
    entries: &[entry("pid-period", "TIME", "how long a PID of a PMT may be silent  [5s]")],
};

pub(super) const EVERYWHERE: Group = Group {
    title: "everywhere",
    entries: &[
        entry("json", "FILE", "write the results there"),
        entry("html", "FILE", "write them as a page with plots"),
        entry("quiet", "", "show no progress"),
        entry("cpus", "LIST", "CPUs to stay on, such as 1,3-5  [all that it may use]"),
        entry("cpu", "N", "the same, for one CPU"),
    ],
};

pub(super) const THREADS: Group = Group {
    title: "threads",
    entries: &[entry("threads", "N", "of players, and of publishers  [one for each CPU]")],
};

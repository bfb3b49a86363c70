//! Banner: what standard output says once everything is up.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use dataplane::config::{ListenerKind, UrlDialect};

use crate::auth::{Mode, Modes};
use crate::config::human_bytes;

/// What the banner tells.
#[derive(Clone, Copy, Debug)]
pub struct Banner<'a> {
    /// Shards.
    pub shards: usize,
    /// The reactor in use.
    pub reactor: &'a str,
    /// Addresses that are listened on.
    pub listeners: &'a [(ListenerKind, SocketAddr)],
    /// The addresses of the API, without TLS and inside it.
    pub control: [Option<SocketAddr>; 2],
    /// The token's file.
    pub token: Option<&'a Path>,
    /// Who may publish, and who may play.
    pub modes: (Modes, Modes),
    /// Where addresses of RTMP have the stream and the key.
    pub url: UrlDialect,
    /// Peers of SRT are to encrypt.
    pub encrypts: bool,
    /// The built-in stream plays.
    pub demo: bool,
    /// The memory ceiling and the part of it that is pages.
    pub memory: (u64, u64),
}

impl Banner<'_> {
    /// The lines, at most twelve.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = format!(
            "Grandstand {} - {} shards on {}\n",
            env!("CARGO_PKG_VERSION"),
            self.shards,
            self.reactor
        );
        let rtmp = self.first(ListenerKind::Rtmp).map(|addr| authority(addr, 1935));
        let http = self.first(ListenerKind::Http).map(|addr| authority(addr, 80));
        let mut line = |name: &str, words: String| {
            writeln!(text, "  {name:<10} {words}").expect("a text grows");
        };
        line("listening", self.addresses());
        let (publish, play) = self.modes;
        match (publish.contains(Mode::Open), play.contains(Mode::Open)) {
            (true, true) => {
                line("warning", "anybody may publish and play (auth.mode)".to_owned());
            }
            (true, false) => line("warning", "anybody may publish (auth.publish)".to_owned()),
            (false, _) => {}
        }
        if let Some(http) = &http {
            line("page", format!("http://{http}/"));
        }
        if let Some(rtmp) = &rtmp {
            let (app, key) = self.example();
            line("OBS", format!("server rtmp://{rtmp}/{app}   stream key {key}"));
            // A shell makes something else of a question mark.
            let quote = if key.contains('?') { "'" } else { "" };
            let target = format!("{quote}rtmp://{rtmp}/{app}/{key}{quote}");
            line("ffmpeg", format!("ffmpeg -re -i FILE -c copy -f flv {target}"));
        }
        if let Some(srt) = self.first(ListenerKind::Srt) {
            let name = self.srt_name();
            let secret = if self.encrypts { "&passphrase=PASSPHRASE" } else { "" };
            let srt = authority(srt, 0);
            line("SRT", format!("srt://{srt}?streamid=publish:{name}{secret}"));
        }
        let rtmps = self.first(ListenerKind::Rtmps).map(|addr| authority(addr, 443));
        let https = self.first(ListenerKind::Https).map(|addr| authority(addr, 443));
        if rtmps.is_some() || https.is_some() {
            let urls = [
                rtmps.map(|rtmps| format!("rtmps://{rtmps}/live")),
                https.map(|https| format!("https://{https}/")),
            ];
            line("TLS", urls.into_iter().flatten().collect::<Vec<_>>().join("   "));
        }
        if self.demo {
            let urls = [
                rtmp.map(|rtmp| format!("rtmp://{rtmp}/live/demo")),
                http.map(|http| format!("http://{http}/demo.flv (.ts, .m3u8)")),
            ];
            line("demo", urls.into_iter().flatten().collect::<Vec<_>>().join("   "));
        }
        if let Some(token) = self.token {
            let [plain, tls] = self.control;
            let urls = [
                plain.map(|addr| format!("http://{}/api/v1/", authority(addr, 80))),
                tls.map(|addr| format!("https://{}/api/v1/", authority(addr, 443))),
            ];
            let urls = urls.into_iter().flatten().collect::<Vec<_>>().join("   ");
            line("API", format!("{urls}   token in {}", token.display()));
        }
        let (ceiling, pages) = self.memory;
        let (ceiling, pages) = (human_bytes(ceiling), human_bytes(pages));
        line("memory", format!("at most {ceiling}, of which {pages} for media"));
        text.push_str("  Ctrl-C ends it\n");
        text
    }

    /// An application and a stream key that an encoder may publish with; who needs a secret reads
    /// in capitals where it goes.
    fn example(&self) -> (&'static str, &'static str) {
        let publish = self.modes.0;
        if self.url == UrlDialect::ChannelKey {
            ("CHANNEL", "KEY")
        } else if publish.contains(Mode::Open) {
            ("live", "mystream")
        } else if [Mode::Keys, Mode::Callback, Mode::Coordinator]
            .iter()
            .any(|&m| publish.contains(m))
        {
            ("live", "mystream?key=KEY")
        } else if publish.contains(Mode::Jwt) {
            ("live", "mystream?token=TOKEN")
        } else {
            ("live", "mystream?SIGNATURE")
        }
    }

    /// What stands for them in an address of SRT.
    fn srt_name(&self) -> String {
        let (app, key) = self.example();
        format!("{app}/{key}")
    }

    fn first(&self, kind: ListenerKind) -> Option<SocketAddr> {
        self.listeners.iter().find(|(k, _)| *k == kind).map(|&(_, addr)| addr)
    }

    fn addresses(&self) -> String {
        let media = self.listeners.iter().map(|(kind, addr)| match kind {
            ListenerKind::Rtmp => format!("rtmp {addr}"),
            ListenerKind::Http => format!("http {addr}"),
            ListenerKind::Rtmps => format!("rtmps {addr}"),
            ListenerKind::Https => format!("https {addr}"),
            ListenerKind::Srt => format!("srt {addr}"),
        });
        let control = ["control", "control_tls"].into_iter().zip(self.control);
        let control = control.filter_map(|(name, addr)| Some(format!("{name} {}", addr?)));
        media.chain(control).collect::<Vec<_>>().join(", ")
    }
}

/// The part of a URL that leads to `addr` from this machine.
pub(crate) fn authority(addr: SocketAddr, default_port: u16) -> String {
    let host = match addr.ip().to_canonical() {
        ip if ip.is_unspecified() => "localhost".to_owned(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    if addr.port() == default_port { host } else { format!("{host}:{}", addr.port()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_has_at_most_twelve_lines() {
        let listeners = [
            (ListenerKind::Rtmp, "[::]:1935".parse().unwrap()),
            (ListenerKind::Http, "192.0.2.1:8080".parse().unwrap()),
            (ListenerKind::Https, "[::]:443".parse().unwrap()),
            (ListenerKind::Srt, "[::]:8890".parse().unwrap()),
        ];
        let banner = Banner {
            shards: 2,
            reactor: "io_uring",
            listeners: &listeners,
            control: [Some("127.0.0.1:8090".parse().unwrap()), None],
            token: Some(Path::new("./grandstand-data/api-token")),
            modes: (Modes::default(), Modes::default()),
            url: UrlDialect::default(),
            encrypts: false,
            demo: true,
            memory: (12 << 30, 3 << 30),
        };
        let text = banner.render();
        assert!(text.lines().count() <= 12, "{text}");
        // The one that lists addresses is as long as they are many.
        assert!(text.lines().skip(2).all(|line| line.len() <= 100), "{text}");
        for part in [
            "listening  rtmp [::]:1935, http 192.0.2.1:8080, https [::]:443, srt [::]:8890, \
             control 127.0.0.1:8090\n",
            "SRT        srt://localhost:8890?streamid=publish:live/mystream\n",
            "demo       rtmp://localhost/live/demo   http://192.0.2.1:8080/demo.flv (.ts, .m3u8)\n",
            "page       http://192.0.2.1:8080/\n",
            "server rtmp://localhost/live   stream key mystream\n",
            "token in ./grandstand-data/api-token\n",
            "at most 12.0 GiB, of which 3.0 GiB for media\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn an_encoder_reads_where_its_secret_goes() {
        let listeners = [
            (ListenerKind::Rtmp, "[::]:1935".parse().unwrap()),
            (ListenerKind::Srt, "127.0.0.1:8890".parse().unwrap()),
        ];
        let only = |mode| (Modes::only(mode), Modes::default());
        for (modes, url, server, key) in [
            (only(Mode::Open), UrlDialect::Name, "live", "mystream"),
            (only(Mode::Keys), UrlDialect::Name, "live", "mystream?key=KEY"),
            (only(Mode::Callback), UrlDialect::Name, "live", "mystream?key=KEY"),
            (only(Mode::Jwt), UrlDialect::Name, "live", "mystream?token=TOKEN"),
            (only(Mode::Signed), UrlDialect::Name, "live", "mystream?SIGNATURE"),
            (only(Mode::Coordinator), UrlDialect::ChannelKey, "CHANNEL", "KEY"),
        ] {
            let banner = Banner {
                shards: 1,
                reactor: "epoll",
                listeners: &listeners,
                control: [None; 2],
                token: None,
                modes,
                url,
                encrypts: true,
                demo: false,
                memory: (1 << 30, 1 << 20),
            };
            let text = banner.render();
            let obs = format!("server rtmp://localhost/{server}   stream key {key}\n");
            assert!(text.contains(&obs), "{text}");
            let quote = if key.contains('?') { "'" } else { "" };
            let target = format!("-f flv {quote}rtmp://localhost/{server}/{key}{quote}\n");
            assert!(text.contains(&target), "{text}");
            let name = format!("publish:{server}/{key}&passphrase=PASSPHRASE\n");
            assert!(text.contains(&format!("srt://127.0.0.1:8890?streamid={name}")), "{text}");
            assert!(text.lines().all(|line| line.len() <= 100), "{text}");
        }
    }
}

//! The command line of `impair`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use lexopt::{Arg, Parser, ValueExt};

use super::amount::{bytes, cpus, rate, time};
use super::command::Command;
use super::command_line::help;
use super::plan::{Action, SECOND_NS, Scenario};
use crate::impair::{Chance, ImpairPlan, Impairment, Stall, Transport};

/// No network delays longer, and a relay keeps what it delays.
const DELAY_NS_MAX: u64 = 60 * SECOND_NS;

#[derive(Default)]
struct Options {
    listen: Option<SocketAddr>,
    to: Option<SocketAddr>,
    transport: Option<Transport>,
    impairment: Option<Impairment>,
    up_only: bool,
    down_only: bool,
    seed: u64,
    stall_ns: Option<u64>,
    every_ns: Option<u64>,
    cut_after: Option<u64>,
    duration_ns: Option<u64>,
    json: Option<PathBuf>,
    html: Option<PathBuf>,
    quiet: bool,
    cpus: Option<Vec<usize>>,
}

/// Reads what stands behind the command.
pub(super) fn parse(command: &Command, mut parser: Parser) -> Result<Scenario> {
    let mut options = Options::default();
    while let Some(arg) = parser.next()? {
        let option = match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(help(command.usage())),
            Arg::Long(option) => option.to_owned(),
            other => return Err(other.unexpected().into()),
        };
        if !command.takes(&option) {
            bail!("impair has no option --{option}; try --help");
        }
        options.set(&option, &mut parser).with_context(|| format!("--{option}"))?;
    }
    let (json, html) = (options.json.take(), options.html.take());
    let (quiet, cpus) = (options.quiet, options.cpus.take());
    let scenario = Scenario::of(Action::Impair(options.plan()?));
    Ok(Scenario { json, html, quiet, cpus, ..scenario })
}

impl Options {
    fn set(&mut self, option: &str, parser: &mut Parser) -> Result<()> {
        let mut text = || -> Result<String> { Ok(parser.value()?.string()?) };
        let impairment = self.impairment.get_or_insert(Impairment::NONE);
        match option {
            "listen" => self.listen = Some(address(&text()?)?),
            "to" => self.to = Some(address(&text()?)?),
            "udp" => self.set_transport(Transport::Udp)?,
            "tcp" => self.set_transport(Transport::Tcp)?,
            "loss" => impairment.loss = Chance::parse(&text()?)?,
            "burst" => {
                let packets = text()?.parse().context("no number of packets from 1 on")?;
                impairment.burst = Some(packets);
            }
            "duplicate" => impairment.duplicate = Chance::parse(&text()?)?,
            "reorder" => impairment.reorder = Chance::parse(&text()?)?,
            "delay" => impairment.delay_ns = delay(&text()?)?,
            "jitter" => impairment.jitter_ns = delay(&text()?)?,
            "rate" => impairment.rate = Some(rate(&text()?)?),
            "queue" => impairment.queue_bytes = bytes(&text()?)?,
            "stall" => self.stall_ns = Some(time(&text()?)?),
            "every" => self.every_ns = Some(time(&text()?)?),
            "cut-after" => self.cut_after = Some(bytes(&text()?)?),
            "direction" => match text()?.as_str() {
                "up" => (self.up_only, self.down_only) = (true, false),
                "down" => (self.up_only, self.down_only) = (false, true),
                "both" => (self.up_only, self.down_only) = (false, false),
                other => bail!("no direction: {other}; it is up, down or both"),
            },
            "seed" => self.seed = parser.value()?.parse()?,
            "duration" => self.duration_ns = Some(time(&text()?)?),
            "quiet" => self.quiet = true,
            "html" => self.html = Some(parser.value()?.into()),
            "json" => self.json = Some(parser.value()?.into()),
            "cpu" => self.cpus = Some(vec![parser.value()?.parse()?]),
            "cpus" => self.cpus = Some(cpus(&text()?)?),
            other => unreachable!("--{other} is in a list of options"),
        }
        Ok(())
    }

    fn set_transport(&mut self, transport: Transport) -> Result<()> {
        let other = self.transport.replace(transport).filter(|other| *other != transport);
        ensure!(other.is_none(), "a relay is of --udp or of --tcp; start another one");
        Ok(())
    }

    fn plan(self) -> Result<ImpairPlan> {
        let listen = self.listen.context("impair needs --listen HOST:PORT, where clients come")?;
        let to = self.to.context("impair needs --to HOST:PORT, where the server is")?;
        let transport = self.transport.context("impair needs --udp or --tcp")?;
        let mut impairment = self.impairment.unwrap_or(Impairment::NONE);
        let Impairment { loss, burst, duplicate, reorder, delay_ns, jitter_ns, .. } = impairment;
        impairment.stall = self.stall()?;
        ensure!(jitter_ns <= delay_ns, "--jitter is at most the --delay that it varies");
        ensure!(
            !reorder.is_possible() || delay_ns > 0,
            "--reorder needs --delay: what overtakes is what is not delayed"
        );
        if let Some(burst) = burst {
            ensure!(loss.is_possible(), "--burst needs --loss, which it shapes");
            ensure!(
                loss.of_burst(burst).is_some(),
                "--burst {burst} is too short for so much --loss: bursts need pauses"
            );
        }
        if transport == Transport::Tcp {
            let chances = [("loss", loss), ("duplicate", duplicate), ("reorder", reorder)];
            if let Some((name, _)) = chances.iter().find(|(_, chance)| chance.is_possible()) {
                bail!(
                    "--{name} is of --udp: the bytes of a connection arrive once and in order; \
                     --delay, --jitter, --rate, --stall and --cut-after are what TCP makes of it"
                );
            }
        }
        ensure!(
            transport == Transport::Tcp || self.cut_after.is_none(),
            "--cut-after is of --tcp: datagrams have no connection to cut"
        );
        let on = |is_on: bool| if is_on { impairment } else { Impairment::NONE };
        let (up, down) = (on(!self.down_only), on(!self.up_only));
        let Self { seed, cut_after, duration_ns, .. } = self;
        Ok(ImpairPlan { listen, to, transport, up, down, seed, cut_after, duration_ns })
    }

    fn stall(&self) -> Result<Option<Stall>> {
        match (self.stall_ns, self.every_ns) {
            (None, None) => Ok(None),
            (Some(stall_ns), Some(every_ns)) => {
                ensure!(stall_ns < every_ns, "--stall is shorter than --every");
                Ok(Some(Stall { stall_ns, every_ns }))
            }
            _ => bail!("--stall TIME and --every TIME need each other"),
        }
    }
}

fn address(text: &str) -> Result<SocketAddr> {
    let wrong = || format!("no address: {text}; write it as HOST:PORT, such as 127.0.0.1:9000");
    text.to_socket_addrs().with_context(wrong)?.next().with_context(wrong)
}

fn delay(text: &str) -> Result<u64> {
    let delay_ns = time(text)?;
    ensure!(delay_ns <= DELAY_NS_MAX, "{text} is longer than any network takes; at most 60s");
    Ok(delay_ns)
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;
    use crate::scenario;

    fn read(line: &str) -> Result<ImpairPlan> {
        let line = format!("impair --listen 127.0.0.1:9000 --to 127.0.0.1:9001 {line}");
        match scenario::parse(line.split_whitespace().map(Into::into))?.action {
            Action::Impair(plan) => Ok(plan),
            other => panic!("not impair: {other:?}"),
        }
    }

    #[test]
    fn the_words_of_netem_are_understood() {
        let plan = read(
            "--udp --loss 2% --burst 5 --delay 40ms --jitter 10ms --reorder 1% --duplicate 0.5% \
             --rate 5M --seed 7 --queue 64k --direction down --stall 2s --every 10s --duration 1m",
        );
        let plan = plan.unwrap();
        let down = Impairment {
            loss: Chance::parse("2%").unwrap(),
            burst: NonZero::new(5),
            duplicate: Chance::parse("0.5%").unwrap(),
            reorder: Chance::parse("1%").unwrap(),
            delay_ns: 40_000_000,
            jitter_ns: 10_000_000,
            rate: Some(5_000_000),
            queue_bytes: 64_000,
            stall: Some(Stall { stall_ns: 2 * SECOND_NS, every_ns: 10 * SECOND_NS }),
        };
        assert_eq!((plan.up, plan.down, plan.seed), (Impairment::NONE, down, 7));
        assert_eq!((plan.listen.port(), plan.to.port()), (9000, 9001));
        assert_eq!(plan.duration_ns, Some(60 * SECOND_NS));
        let plan = read("--tcp --delay 1ms --cut-after 1M").unwrap();
        assert_eq!((plan.transport, plan.cut_after), (Transport::Tcp, Some(1_000_000)));
        assert_eq!((plan.up, plan.up.delay_ns), (plan.down, 1_000_000));
        assert_eq!(read("--udp --delay 1ms --direction up").unwrap().down, Impairment::NONE);
    }

    #[test]
    fn nonsense_is_one_clear_line() {
        let table = [
            ("", "impair needs --udp or --tcp"),
            ("--udp --tcp", "--tcp: a relay is of --udp or of --tcp"),
            ("--tcp --loss 1%", "--loss is of --udp"),
            ("--tcp --delay 5ms --reorder 1%", "--reorder is of --udp"),
            ("--tcp --duplicate 1%", "--duplicate is of --udp"),
            ("--udp --cut-after 5", "--cut-after is of --tcp"),
            ("--udp --reorder 1%", "--reorder needs --delay"),
            ("--udp --delay 5ms --jitter 6ms", "--jitter is at most the --delay"),
            ("--udp --stall 1s", "--stall TIME and --every TIME need each other"),
            ("--udp --stall 1s --every 1s", "--stall is shorter than --every"),
            ("--udp --loss 2", "--loss: no percentage: 2; write it as 2%"),
            ("--udp --burst 3", "--burst needs --loss"),
            ("--udp --loss 90% --burst 3", "--burst 3 is too short for so much --loss"),
            ("--udp --loss 1% --burst 0", "--burst: no number of packets from 1 on"),
            ("--udp --delay 61s", "--delay: 61s is longer than"),
            ("--udp --queue many", "--queue: no number of bytes: many"),
            ("--udp --direction left", "--direction: no direction: left"),
            ("--udp --to nowhere", "--to: no address: nowhere"),
            ("--udp --players 3", "impair has no option --players"),
            ("--udp --threads 2", "impair has no option --threads; try --help"),
            ("--udp loud", "unexpected argument"),
        ];
        for (line, start) in table {
            let error = format!("{:#}", read(line).unwrap_err());
            assert!(error.starts_with(start), "{line}: {error}");
            assert!(!error.contains('\n'));
        }
        let error = scenario::parse(["impair".into(), "--udp".into()]).unwrap_err().to_string();
        assert!(error.starts_with("impair needs --listen"), "{error}");
    }
}

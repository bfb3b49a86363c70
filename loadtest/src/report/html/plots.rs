//! Which plots a section has, and what is in them.

use super::histogram_plot;
use super::line_plot::{LINES_MAX, Line, LinePlot};
use super::unit::Unit;
use crate::observe::{PlayerSample, ProcessSample, ServerSample};
use crate::report::{Report, Section};

/// The samples of a section.
struct Scene<'a> {
    section: &'a Section,
    players: Vec<&'a PlayerSample>,
    server: Vec<&'a ServerSample>,
}

/// All plots of a section, one after the other.
pub(super) fn of_section(report: &Report, section: &Section) -> String {
    let (from_s, to_s) = (section.from_s, section.window_to_s);
    let is_inside = |at_s: f64| at_s > from_s && at_s <= to_s + 0.5;
    let players = report.series.players.samples().iter();
    let server = report.series.server.samples().iter();
    let scene = Scene {
        section,
        players: players.filter(|sample| is_inside(sample.at_s)).collect(),
        server: server.filter(|sample| is_inside(sample.at_s)).collect(),
    };
    let measurement = &section.measurement;
    let mut plots = histogram_plot::render(
        "Latency from encoder to player",
        &measurement.latency_bins,
        measurement.latency,
    );
    plots.push_str(&scene.latency());
    plots.push_str(&scene.players());
    plots.push_str(&scene.traffic());
    plots.push_str(&scene.threads());
    plots.push_str(&scene.shards());
    plots.push_str(&scene.loop_lag());
    plots.push_str(&scene.memory());
    plots.push_str(&scene.switches());
    plots
}

/// What several sections have in common, over their numbers of players.
pub(super) fn of_all(sections: &[Section]) -> String {
    let over = |name: &str, value: &dyn Fn(&Section) -> Option<f64>| Line {
        name: name.to_owned(),
        points: sections
            .iter()
            .map(|section| (section.measurement.held as f64, value(section)))
            .collect(),
    };
    let plot = |title, unit, is_log, mut lines: Vec<Line>| {
        for line in &mut lines {
            line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        let (x_unit, x_label, window) = (Unit::Count, "players held", None);
        LinePlot { title, unit, x_unit, x_label, lines, window, is_log }.render()
    };
    let latency = |of: &Section| of.measurement.latency;
    let mut plots = plot(
        "Latency by players",
        Unit::Ms,
        true,
        vec![
            over("p50", &|of| Some(latency(of)?.p50_ms)),
            over("p99", &|of| Some(latency(of)?.p99_ms)),
            over("max", &|of| Some(latency(of)?.max_ms)),
        ],
    );
    let cost = |of: &Section| Some(of.measurement.server.as_ref()?.cpu_s_per_gb);
    plots.push_str(&plot(
        "CPU seconds per gigabyte by players",
        Unit::Count,
        false,
        vec![over("CPU s/GB", &cost)],
    ));
    let cpu = |of: &Section| {
        Some(of.measurement.server.as_ref()?.cpu_s / of.measurement.window_s.max(1e-9))
    };
    plots.push_str(&plot("Server CPU by players", Unit::Core, false, vec![over("CPU", &cpu)]));
    let rss = |of: &Section| Some(of.measurement.server.as_ref()?.rss_bytes as f64);
    plots.push_str(&plot(
        "Resident memory by players",
        Unit::Bytes,
        false,
        vec![over("resident", &rss)],
    ));
    plots
}

impl Scene<'_> {
    fn plot(&self, title: &'static str, unit: Unit, lines: Vec<Line>) -> LinePlot {
        LinePlot {
            title,
            unit,
            x_unit: Unit::Seconds,
            x_label: "time since the run began",
            lines,
            window: Some((self.section.window_from_s, self.section.window_to_s)),
            is_log: false,
        }
    }

    fn of_players(&self, name: &str, value: impl Fn(&PlayerSample) -> Option<f64>) -> Line {
        let points = self.players.iter().map(|sample| (sample.at_s, value(sample)));
        Line { name: name.to_owned(), points: points.collect() }
    }

    fn of_server(&self, name: String, value: impl Fn(&ServerSample) -> Option<f64>) -> Line {
        let points = self.server.iter().map(|sample| (sample.at_s, value(sample)));
        Line { name, points: points.collect() }
    }

    fn latency(&self) -> String {
        let lines = vec![
            self.of_players("p50", |of| Some(of.latency?.p50_ms)),
            self.of_players("p90", |of| Some(of.latency?.p90_ms)),
            self.of_players("p99", |of| Some(of.latency?.p99_ms)),
            self.of_players("max", |of| Some(of.latency?.max_ms)),
        ];
        LinePlot { is_log: true, ..self.plot("Latency over time", Unit::Ms, lines) }.render()
    }

    fn players(&self) -> String {
        let lost = |of: &PlayerSample| (of.refused + of.failed + of.closed) as f64;
        let before = self.players.first().map_or(0.0, |first| lost(first));
        let mut lines = vec![
            self.of_players("held", |of| Some(of.held as f64)),
            self.of_players("connecting", |of| Some(of.connecting as f64)),
        ];
        if self.players.last().is_some_and(|last| lost(last) > 0.0) || before > 0.0 {
            lines.push(self.of_players("refused, failed or closed", |of| Some(lost(of))));
        }
        self.plot("Players over time", Unit::Count, lines).render()
    }

    fn traffic(&self) -> String {
        let rate = |of: &PlayerSample| {
            (of.interval_s > 0.0).then(|| of.received_bytes as f64 * 8.0 / of.interval_s)
        };
        let lines = vec![self.of_players("received", rate)];
        self.plot("Received by all players", Unit::BitsPerSecond, lines).render()
    }

    /// The busiest threads, and the sum of the others.
    fn threads(&self) -> String {
        let mut busy: Vec<(u32, &str, f64)> = Vec::new();
        for thread in self.processes().flat_map(|process| &process.threads) {
            match busy.iter_mut().find(|known| known.0 == thread.tid) {
                Some(known) => known.2 += thread.cpu,
                None => busy.push((thread.tid, &thread.name, thread.cpu)),
            }
        }
        busy.sort_by(|a, b| b.2.total_cmp(&a.2));
        let shown = if busy.len() > LINES_MAX { LINES_MAX - 1 } else { busy.len() };
        let (first, others) = busy.split_at(shown);
        let mut lines: Vec<Line> = first
            .iter()
            .map(|&(tid, name, _)| {
                let twins = busy.iter().filter(|other| other.1 == name).count();
                let name = if twins > 1 { format!("{name} ({tid})") } else { name.to_owned() };
                self.of_server(name, |of| {
                    let threads = &of.process.as_ref()?.threads;
                    Some(threads.iter().find(|thread| thread.tid == tid)?.cpu)
                })
            })
            .collect();
        if !others.is_empty() {
            lines.push(self.of_server(format!("{} others", others.len()), |of| {
                let threads = of.process.as_ref()?.threads.iter();
                let is_other = |tid: u32| others.iter().any(|other| other.0 == tid);
                Some(threads.filter(|thread| is_other(thread.tid)).map(|thread| thread.cpu).sum())
            }));
        }
        self.plot("Server CPU by thread", Unit::Core, lines).render()
    }

    fn processes(&self) -> impl Iterator<Item = &ProcessSample> {
        self.server.iter().filter_map(|sample| sample.process.as_ref())
    }

    fn of_shards(&self, value: fn(&crate::observe::ShardSample) -> Option<f64>) -> Vec<Line> {
        let Some(last) = self.server.iter().rev().find(|sample| !sample.shards.is_empty()) else {
            return Vec::new();
        };
        let shards = last.shards.iter().map(|shard| shard.reading.shard);
        let line = |id: u16| {
            self.of_server(format!("shard {id}"), |of| {
                value(of.shards.iter().find(|shard| shard.reading.shard == id)?)
            })
        };
        shards.map(line).collect()
    }

    fn shards(&self) -> String {
        let lines = self.of_shards(|shard| shard.reading.utilisation);
        let mut plots = self.plot("Busy time by shard", Unit::Share, lines).render();
        let lines = self.of_shards(|shard| shard.reading.flush_interval_ms);
        plots.push_str(&self.plot("Flush interval by shard", Unit::Ms, lines).render());
        plots
    }

    fn loop_lag(&self) -> String {
        let lines = self.of_shards(|shard| shard.lag_p99_ms);
        self.plot("Loop lag by shard, p99", Unit::Ms, lines).render()
    }

    fn memory(&self) -> String {
        let bytes = |value: Option<u64>| value.map(|bytes| bytes as f64);
        let lines = vec![
            self.of_server("resident".to_owned(), |of| bytes(Some(of.process.as_ref()?.rss_bytes))),
            self.of_server("anonymous".to_owned(), |of| {
                bytes(of.process.as_ref()?.anonymous_bytes)
            }),
            self.of_server("TCP buffers, both ends".to_owned(), |of| {
                bytes(Some(of.sockets?.tcp_bytes))
            }),
        ];
        self.plot("Server memory over time", Unit::Bytes, lines).render()
    }

    fn switches(&self) -> String {
        let lines = vec![
            self.of_server("voluntary".to_owned(), |of| {
                Some(of.process.as_ref()?.voluntary_switches_per_s)
            }),
            self.of_server("involuntary".to_owned(), |of| {
                Some(of.process.as_ref()?.involuntary_switches_per_s)
            }),
        ];
        self.plot("Server context switches", Unit::PerSecond, lines).render()
    }
}

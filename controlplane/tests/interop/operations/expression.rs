//! Expression: which series one of PromQL asks for, and by which labels it groups them.
//!
//! Not here: whether the expression is one, which promtool says.

use super::series::Series;

/// Words after which labels stand in brackets.
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words that are no metric though nothing stands in brackets after them.
const WORDS: [&str; 5] = ["and", "or", "unless", "offset", "bool"];

/// What stands between the braces of a selector.
#[derive(Debug, PartialEq, Eq)]
struct Matcher {
    label: String,
    operator: String,
    value: String,
}

/// A metric with its matchers.
#[derive(Debug, PartialEq, Eq)]
struct Selector {
    metric: String,
    matchers: Vec<Matcher>,
}

/// The parts of an expression that name something of the exposition.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expression {
    selectors: Vec<Selector>,
    labels: Vec<String>,
}

impl Expression {
    /// Takes an expression apart that promtool found sound.
    pub(super) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        let mut rest = text;
        while let Some(start) = rest.find(|c: char| !c.is_whitespace()) {
            rest = &rest[start..];
            let first = rest.chars().next().expect("it was found");
            rest = match first {
                'a'..='z' | 'A'..='Z' | '_' | ':' => found.word(rest),
                '[' => after(rest, "]"),
                '"' => after(&rest[1..], "\""),
                // A number takes its unit with it.
                '0'..='9' => {
                    rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.')
                }
                _ => &rest[first.len_utf8()..],
            };
        }
        found
    }

    fn word<'a>(&mut self, text: &'a str) -> &'a str {
        let (word, rest) = name(text);
        let next = rest.trim_start();
        if GROUPING.contains(&word) {
            let (inside, rest) = next[1..].split_once(')').expect("brackets close");
            self.labels.extend(inside.split(',').map(|label| label.trim().to_owned()));
            self.labels.retain(|label| !label.is_empty());
            return rest;
        }
        // The labels of an aggregation may stand before what it aggregates.
        let grouped = matches!(name(next).0, "by" | "without");
        if WORDS.contains(&word) || grouped || next.starts_with('(') {
            return rest;
        }
        let (matchers, rest) = match next.strip_prefix('{') {
            Some(inside) => matchers(inside),
            None => (Vec::new(), rest),
        };
        self.selectors.push(Selector { metric: word.to_owned(), matchers });
        rest
    }

    /// What it asks for that `series` do not have; `legend` may show labels, too.
    pub(super) fn misses(&self, series: &Series, legend: &str) -> Vec<String> {
        let mut missing = Vec::new();
        for Selector { metric, matchers } in &self.selectors {
            if !series.has(metric) {
                missing.push(format!("no metric {metric}"));
                continue;
            }
            for Matcher { label, operator, value } in matchers {
                if !series.has_label(metric, label) {
                    missing.push(format!("no label {label} of {metric}"));
                    continue;
                }
                // A variable of the dashboard is one of the values, whichever it is.
                let wanted = value.split('|').filter(|value| !value.contains('$'));
                for value in wanted.filter(|value| !series.has_value(metric, label, value)) {
                    missing.push(format!("no {metric}{{{label}{operator}\"{value}\"}}"));
                }
            }
        }
        let shown = legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
        for label in self.labels.iter().map(String::as_str).chain(shown.map(str::trim)) {
            if !self.selectors.iter().any(|one| series.has_label(&one.metric, label)) {
                missing.push(format!("no label {label} of any metric"));
            }
        }
        missing
    }

    /// The metrics that it asks for.
    pub(super) fn metrics(self) -> Vec<String> {
        self.selectors.into_iter().map(|selector| selector.metric).collect()
    }
}

/// A name and what follows it.
fn name(text: &str) -> (&str, &str) {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()))
}

fn after<'a>(text: &'a str, end: &str) -> &'a str {
    text.split_once(end).expect("it closes").1
}

/// Matchers up to the brace that closes them, and what follows it.
fn matchers(mut text: &str) -> (Vec<Matcher>, &str) {
    let mut found = Vec::new();
    loop {
        text = text.trim_start_matches([',', ' ', '\n']);
        if let Some(rest) = text.strip_prefix('}') {
            return (found, rest);
        }
        let (label, rest) = name(text);
        let (operator, rest) = rest.split_once('"').expect("values are quoted");
        let (value, rest) = rest.split_once('"').expect("quotes close");
        found.push(Matcher {
            label: label.to_owned(),
            operator: operator.trim().to_owned(),
            value: value.to_owned(),
        });
        text = rest;
    }
}

#[test]
fn expressions_are_taken_apart() {
    let page = "a_bucket{shard=\"0\",le=\"1\"} 1\nb{limit=\"x\"} 1\nc 1\n";
    let series = Series::parse(page);
    let misses = |text: &str, legend: &str| Expression::parse(text).misses(&series, legend);
    let sound = "histogram_quantile(0.99, sum by (instance, le) \
                 (rate(a_bucket{instance=~\"$node\",shard=~\"0|$shard\"}[5m]))) > 1e3 * 2.5 \
                 and on (instance) b{limit=\"x\"} or vector(0) unless c offset 5m";
    assert_eq!(Expression::parse(sound).metrics(), ["a_bucket", "b", "c"]);
    assert_eq!(misses(sound, "{{instance}} p99"), [""; 0]);
    for (text, legend, missing) in [
        ("d > 0", "", "no metric d"),
        ("rate(c{shard=\"1\"}[$__rate_interval])", "", "no label shard of c"),
        ("b{limit=\"y\"}", "", "no b{limit=\"y\"}"),
        ("a_bucket{le=~\"1|2\"}", "", "no a_bucket{le=~\"2\"}"),
        ("sum by (pool) (b)", "", "no label pool of any metric"),
        ("c + c", "{{shard}}", "no label shard of any metric"),
    ] {
        assert_eq!(misses(text, legend), [missing], "{text}");
    }
}

//! The drawing on one time axis: faults, throughput, latency, nodes, lag, links.

use std::fmt::Write as _;

use super::{
    axis::{LEFT, RIGHT, Time, Values, WIDTH},
    text::{escape, seconds},
};
use crate::{
    cluster::Life,
    faults::{Fault, Happened},
    proxy::{Place, Way},
    run::Outcome,
    watching::Sample,
};

const LANE: f64 = 22.0;
const GAP: f64 = 34.0;

/// A drawing that grows downwards.
struct Page {
    svg: String,
    y: f64,
    time: Time,
}

impl Page {
    fn title(&mut self, title: &str, legend: &[(&str, &str)]) {
        self.y += GAP;
        let y = self.y - 10.0;
        let _ = write!(self.svg, r#"<text class="panel" x="0" y="{y:.1}">{title}</text>"#);
        let mut x = LEFT.max(16.0 + 7.6 * title.chars().count() as f64);
        for (class, name) in legend {
            let _ = write!(
                self.svg,
                r#"<rect class="{class}" x="{x:.1}" y="{:.1}" width="11" height="11" rx="2"/><text class="tick" x="{:.1}" y="{y:.1}">{name}</text>"#,
                y - 9.5,
                x + 16.0
            );
            x += 30.0 + 6.4 * name.chars().count() as f64;
        }
    }

    fn name(&mut self, name: &str, y: f64) {
        let x = LEFT - 8.0;
        let _ =
            write!(self.svg, r#"<text class="name" x="{x:.1}" y="{y:.1}" text-anchor="end">{name}</text>"#);
    }

    fn bar(&mut self, class: &str, from_ms: u64, to_ms: u64, y: f64, height: f64, tip: &str) {
        let (x, to) = (self.time.x(from_ms), self.time.x(to_ms));
        let width = (to - x).max(1.0);
        let _ = write!(
            self.svg,
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"><title>{}</title></rect>"#,
            escape(tip)
        );
    }
}

/// The whole drawing.
pub fn draw(outcome: &Outcome) -> String {
    let mut page = Page { svg: String::new(), y: 0.0, time: Time::until(outcome.ended_ms) };
    faults(&mut page, outcome);
    let from = page.y;
    throughput(&mut page, outcome);
    latency(&mut page, outcome);
    nodes(&mut page, outcome);
    lag(&mut page, outcome);
    links(&mut page, outcome);
    let (time, bottom) = (page.time, page.y + 6.0);
    let mut shades = String::new();
    for fault in &outcome.happened {
        let (x, to) = (time.x(fault.began_ms), time.x(ended(fault, outcome)));
        let _ = write!(
            shades,
            r#"<rect class="shade" x="{x:.1}" y="{from:.1}" width="{:.1}" height="{:.1}"/>"#,
            (to - x).max(1.0),
            bottom - from
        );
    }
    let healed = time.x(outcome.healed_ms);
    let _ = write!(
        shades,
        r#"<line class="healed" x1="{healed:.1}" y1="12" x2="{healed:.1}" y2="{bottom:.1}"/><text class="tick" x="{:.1}" y="10" text-anchor="end">all heals at {}</text>"#,
        healed + 4.0,
        seconds(outcome.healed_ms)
    );
    let grid = time.grid(GAP, bottom);
    let height = bottom + 24.0;
    format!(
        r#"<svg id="axis" class="chart" viewBox="0 0 {WIDTH} {height:.0}" data-left="{LEFT}" data-right="{RIGHT}" data-end="{}" role="img" aria-label="The run over time">{shades}{grid}{}<line id="cursor" class="cursor" x1="0" y1="0" x2="0" y2="{bottom:.0}" visibility="hidden"/></svg>"#,
        time.end_ms(),
        page.svg
    )
}

fn ended(fault: &Happened, outcome: &Outcome) -> u64 {
    fault.ended_ms.unwrap_or(outcome.healed_ms)
}

/// The class of a fault's family.
pub fn family(fault: Fault) -> &'static str {
    if fault.needs_clocks() || fault == Fault::DiskFull {
        "machine"
    } else if fault.needs_processes() {
        "process"
    } else {
        "network"
    }
}

fn faults(page: &mut Page, outcome: &Outcome) {
    page.title(
        "Faults",
        &[("process", "processes"), ("network", "network"), ("machine", "disks and clocks")],
    );
    let lanes = outcome.happened.iter().map(|fault| fault.lane + 1).max().unwrap_or(1);
    for lane in 0..lanes {
        let y = page.y + lane as f64 * (LANE + 4.0);
        if lanes > 1 {
            page.name(&format!("at once, {}", lane + 1), y + 15.0);
        }
        let of_lane: Vec<&Happened> = outcome.happened.iter().filter(|fault| fault.lane == lane).collect();
        for (place, fault) in of_lane.iter().enumerate() {
            let to = ended(fault, outcome);
            let tip =
                format!("{}: {} ({} to {})", fault.fault, fault.words, seconds(fault.began_ms), seconds(to));
            page.bar(family(fault.fault), fault.began_ms, to, y, LANE, &tip);
            // A name stands where there is room for it until the next fault begins.
            let room = of_lane.get(place + 1).map_or(RIGHT + 10.0, |next| page.time.x(next.began_ms))
                - page.time.x(fault.began_ms);
            let name = fault.fault.name().replace('_', " ");
            let shown: String = name.chars().take(((room - 4.0) / 5.6).max(0.0) as usize).collect();
            if shown.chars().count() >= 3 {
                let _ = write!(
                    page.svg,
                    r#"<text class="fault" x="{:.1}" y="{:.1}">{shown}</text>"#,
                    page.time.x(fault.began_ms) + 3.0,
                    y + 15.0
                );
            }
        }
    }
    if outcome.happened.is_empty() {
        let y = page.y + 15.0;
        let _ = write!(page.svg, r#"<text class="tick" x="{LEFT}" y="{y:.1}">none</text>"#);
    }
    page.y += lanes as f64 * (LANE + 4.0);
}

fn throughput(page: &mut Page, outcome: &Outcome) {
    page.title("Requests per second", &[("done", "done"), ("trouble", "refused, or of unknown outcome")]);
    let (top, bottom) = (page.y, page.y + 110.0);
    let total = |troubles: &std::collections::BTreeMap<String, u32>| troubles.values().sum::<u32>();
    let most = outcome.seconds.iter().map(|second| second.done.max(total(&second.troubles))).max();
    let values = Values::linear(top, bottom, f64::from(most.unwrap_or(1)));
    page.svg += &values.grid(|tick| format!("{tick:.0}"));
    let height = |of: f64| (bottom - values.y(of)).max(0.0);
    for (number, second) in outcome.seconds.iter().enumerate() {
        let (from, to) = (number as u64 * 1000, (number as u64 + 1) * 1000);
        if from >= page.time.end_ms() {
            break;
        }
        let troubles = total(&second.troubles);
        let codes: Vec<String> =
            second.troubles.iter().map(|(code, count)| format!("{count} {code}")).collect();
        let tip = format!("second {number}: {} done {}", second.done, codes.join(", "));
        let tall = height(f64::from(second.done));
        page.bar("done", from, to, bottom - tall, tall, &tip);
        if troubles > 0 {
            let tall = height(f64::from(troubles)).max(1.5);
            page.bar("trouble", from, to, bottom - tall, tall, &tip);
        }
    }
    page.y = bottom;
}

fn latency(page: &mut Page, outcome: &Outcome) {
    page.title("Latency of what was done", &[("p50", "median"), ("p99", "99 of 100")]);
    let (top, bottom) = (page.y, page.y + 100.0);
    let quantiles: Vec<Option<(f64, f64)>> = outcome
        .seconds
        .iter()
        .map(|second| {
            let ms = |per_mille| second.quantile_us(per_mille).map(|us| f64::from(us) / 1000.0);
            Some((ms(500)?, ms(990)?))
        })
        .collect();
    let known = || quantiles.iter().flatten();
    let least = known().map(|(p50, _)| *p50).fold(f64::INFINITY, f64::min);
    let most = known().map(|(_, p99)| *p99).fold(1.0, f64::max);
    let values = Values::logarithmic(top, bottom, if least.is_finite() { least } else { 1.0 }, most);
    page.svg += &values
        .grid(|tick| if tick >= 1000.0 { format!("{:.0} s", tick / 1000.0) } else { format!("{tick} ms") });
    for (class, which) in [("p99", 1), ("p50", 0)] {
        let mut path = String::new();
        let mut down = false;
        for (second, quantile) in quantiles.iter().enumerate() {
            let Some((p50, p99)) = quantile else {
                down = false;
                continue;
            };
            let value = if which == 0 { *p50 } else { *p99 };
            let (x, y) = (page.time.x(second as u64 * 1000 + 500), values.y(value));
            let _ = write!(path, "{}{x:.1} {y:.1}", if down { "L" } else { "M" });
            down = true;
        }
        let _ = write!(page.svg, r#"<path class="line {class}" d="{path}"/>"#);
    }
    page.y = bottom;
}

/// What a node was at a sample, as a class and in words.
pub fn state_of(sample: &Sample) -> (&'static str, &'static str) {
    match (sample.life, sample.said) {
        (Some(Life::Down), _) => ("down", "down"),
        (Some(Life::Paused), _) => ("paused", "paused"),
        (_, None) => ("mute", "no answer"),
        (_, Some(said)) if said.leads => ("leader", "leader"),
        (_, Some(said)) if said.stands => ("candidate", "candidate"),
        _ => ("follower", "follower"),
    }
}

fn nodes(page: &mut Page, outcome: &Outcome) {
    let legend = [
        ("leader", "leader"),
        ("follower", "follower"),
        ("candidate", "candidate"),
        ("mute", "runs, no answer"),
        ("paused", "paused"),
        ("down", "down"),
    ];
    page.title("Nodes, with terms", &legend);
    for (number, samples) in outcome.samples.iter().enumerate() {
        let y = page.y + number as f64 * (LANE + 4.0);
        page.name(&format!("node {number}"), y + 15.0);
        let mut term_shown = (0, f64::NEG_INFINITY);
        let mut at = 0;
        while at < samples.len() {
            let (class, words) = state_of(&samples[at]);
            let term = samples[at].said.map(|said| said.term);
            let same =
                |sample: &Sample| state_of(sample).0 == class && sample.said.map(|said| said.term) == term;
            let run = samples[at..].iter().take_while(|sample| same(sample)).count();
            let to = samples.get(at + run).map_or(outcome.ended_ms, |next| next.ms);
            let of_term = term.map(|term| format!(", term {term}")).unwrap_or_default();
            let tip =
                format!("node {number}: {words}{of_term} ({} to {})", seconds(samples[at].ms), seconds(to));
            page.bar(class, samples[at].ms, to, y, LANE, &tip);
            let x = page.time.x(samples[at].ms);
            if let Some(term) = term
                && term != term_shown.0
                && x > term_shown.1 + 16.0
                && page.time.x(to) - x > 8.0 + 6.0 * term.to_string().len() as f64
            {
                term_shown = (term, x);
                let _ = write!(
                    page.svg,
                    r#"<text class="term on-{class}" x="{:.1}" y="{:.1}">{term}</text>"#,
                    x + 3.0,
                    y + 15.0
                );
            }
            at += run;
        }
    }
    page.y += outcome.samples.len() as f64 * (LANE + 4.0);
}

fn lag(page: &mut Page, outcome: &Outcome) {
    let names: Vec<String> = (0..outcome.nodes).map(|node| format!("node {node}")).collect();
    let classes: Vec<String> = (0..outcome.nodes).map(|node| format!("n{node}")).collect();
    let legend: Vec<(&str, &str)> =
        classes.iter().zip(&names).map(|(class, name)| (class.as_str(), name.as_str())).collect();
    page.title("Entries behind", &legend);
    let (top, bottom) = (page.y, page.y + 70.0);
    let lags = lags(outcome);
    let most = lags.iter().flatten().map(|(_, behind)| *behind).max().unwrap_or(1);
    let values = Values::logarithmic(top, bottom, 1.0, most as f64);
    page.svg += &values.grid(|tick| super::text::number(tick as u64));
    for (node, points) in lags.iter().enumerate() {
        let mut path = String::new();
        let mut last = None;
        for (ms, behind) in points {
            let joined = last.is_some_and(|last: u64| ms - last < 1_600);
            let (x, y) = (page.time.x(*ms), values.y(*behind as f64));
            let _ = write!(path, "{}{x:.1} {y:.1}", if joined { "L" } else { "M" });
            last = Some(*ms);
        }
        let _ = write!(page.svg, r#"<path class="line s{node}" d="{path}"/>"#);
    }
    page.y = bottom;
}

/// How far each node's applied index is behind the highest commit index that any node knew of then.
pub fn lags(outcome: &Outcome) -> Vec<Vec<(u64, u64)>> {
    let rounds = outcome.samples.iter().map(Vec::len).min().unwrap_or(0);
    let mut lags = vec![Vec::new(); outcome.samples.len()];
    for round in 0..rounds {
        let said = || outcome.samples.iter().filter_map(|samples| samples[round].said);
        let commit = said().map(|said| said.commit).max().unwrap_or(0);
        for (node, samples) in outcome.samples.iter().enumerate() {
            if let Some(said) = samples[round].said {
                lags[node].push((samples[round].ms, commit.saturating_sub(said.applied)));
            }
        }
    }
    lags
}

/// What a link was, as a class and in words; `None` when it was whole.
pub fn link_state(way: &Way) -> Option<(&'static str, String)> {
    if way.silent {
        return Some(("silent", "silent".to_owned()));
    }
    if way.refused {
        return Some(("refused", "closed".to_owned()));
    }
    if way.corrupt_per_mille > 0 {
        return Some(("corrupt", format!("{} of 1000 chunks damaged", way.corrupt_per_mille)));
    }
    if way.bytes_per_s > 0 {
        return Some(("slow", format!("{} KiB/s", way.bytes_per_s / 1024)));
    }
    if !(way.delay + way.jitter).is_zero() {
        let (least, most) = (way.delay.as_millis(), (way.delay + way.jitter).as_millis());
        return Some(("slow", format!("late by {least} to {most} ms")));
    }
    None
}

/// A place, for people.
pub fn place(place: Place) -> String {
    match place {
        Place::Node(node) => node.to_string(),
        Place::Clients => "clients".to_owned(),
    }
}

fn links(page: &mut Page, outcome: &Outcome) {
    let mut pairs: Vec<(Place, Place)> = outcome.marks.iter().map(|mark| (mark.from, mark.to)).collect();
    pairs.sort_unstable();
    pairs.dedup();
    if pairs.is_empty() {
        return;
    }
    let legend =
        [("silent", "silent"), ("refused", "closed"), ("slow", "late or narrow"), ("corrupt", "damaged")];
    page.title("Links that were hurt", &legend);
    let tall = if pairs.len() > 12 { 12.5 } else { 16.0 };
    for (number, (from, to)) in pairs.iter().enumerate() {
        let y = page.y + number as f64 * tall;
        page.name(&format!("{} → {}", place(*from), place(*to)), y + tall - 3.5);
        let marks: Vec<_> =
            outcome.marks.iter().filter(|mark| (mark.from, mark.to) == (*from, *to)).collect();
        for (at, mark) in marks.iter().enumerate() {
            let until = marks.get(at + 1).map_or(outcome.ended_ms, |next| next.ms);
            if let Some((class, words)) = link_state(&mark.way) {
                let tip = format!(
                    "from {} to {}: {words} ({} to {})",
                    place(*from),
                    place(*to),
                    seconds(mark.ms),
                    seconds(until)
                );
                page.bar(class, mark.ms, until, y, tall - 2.0, &tip);
            }
        }
    }
    page.y += pairs.len() as f64 * tall;
}

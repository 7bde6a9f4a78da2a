//! Lines over time, as SVG: no script, and colours from the page's style.

use std::fmt::Write;

/// A line; None is a hole in it.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, Option<f64>)>,
}

pub(crate) struct Plot<'a> {
    pub(crate) title: &'a str,
    pub(crate) unit: &'a str,
    pub(crate) series: Vec<Series>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 30.0;

/// More points than this are not to be told apart.
const POINTS: usize = 360;

impl Plot<'_> {
    /// Nothing where there is nothing to see.
    pub(crate) fn figure(&self) -> String {
        let values = || self.series.iter().flat_map(|line| &line.points).filter_map(|point| point.1);
        let Some(high) = values().max_by(f64::total_cmp) else { return String::new() };
        let end = self.series.iter().flat_map(|line| &line.points).map(|point| point.0).fold(1.0, f64::max);
        let scale = Scale::of(values(), high);
        let mut svg = format!(
            r#"<figure><figcaption>{} <span class="unit">{}{}</span></figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{0}">"#,
            escape(self.title),
            escape(self.unit),
            if scale.logarithmic { ", logarithmic" } else { "" },
        );
        for tick in scale.ticks() {
            let y = scale.y(tick);
            let _ = write!(
                svg,
                r#"<line class="grid" x1="{LEFT}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}"/><text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 3.5,
                short(tick)
            );
        }
        for tick in ticks(end, 6) {
            let (x, y) = (across(tick, end), HEIGHT - BOTTOM + 16.0);
            let _ = write!(
                svg,
                r#"<text class="tick" x="{x:.1}" y="{y:.1}" text-anchor="middle">{}</text>"#,
                clock(tick, end)
            );
        }
        // The first of them on top.
        for (number, line) in self.series.iter().enumerate().rev() {
            let path = path(&line.points, end, &scale);
            let _ = write!(
                svg,
                r#"<path class="line l{}" d="{path}"><title>{}</title></path>"#,
                number % 6,
                escape(&line.name)
            );
        }
        svg.push_str("</svg><p class=\"legend\">");
        for (number, line) in self.series.iter().enumerate() {
            let most = line.points.iter().filter_map(|point| point.1).fold(f64::NAN, f64::max);
            let most = if most.is_nan() { String::new() } else { format!(", up to {}", short(most)) };
            let _ =
                write!(svg, r#"<span><i class="k{}"></i>{}{most}</span> "#, number % 6, escape(&line.name));
        }
        svg.push_str("</p></figure>\n");
        svg
    }
}

struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Scale {
    /// Logarithmic if most would otherwise lie on the floor.
    fn of(values: impl Iterator<Item = f64>, high: f64) -> Self {
        let mut above: Vec<f64> = values.filter(|value| *value > 0.0).collect();
        above.sort_by(f64::total_cmp);
        let middle = above.get(above.len() / 2).copied().unwrap_or(high);
        if high > 40.0 * middle {
            let low = above.first().copied().unwrap_or(1.0).log10().floor();
            return Self { low, high: high.log10().ceil().max(low + 1.0), logarithmic: true };
        }
        let top = ticks(high * 1.02, 4).last().copied().unwrap_or(1.0);
        let step = ticks(high, 4).get(1).copied().unwrap_or(1.0);
        Self { low: 0.0, high: if top < high { top + step } else { top }, logarithmic: false }
    }

    fn ticks(&self) -> Vec<f64> {
        if !self.logarithmic {
            return ticks(self.high, 4);
        }
        let (low, high) = (self.low as i32, self.high as i32);
        (low..=high).map(|power| 10f64.powi(power)).collect()
    }

    fn y(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.max(1e-9).log10() } else { value };
        let part = ((value - self.low) / (self.high - self.low).max(1e-9)).clamp(0.0, 1.0);
        HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)
    }
}

fn across(time: f64, end: f64) -> f64 {
    LEFT + time / end * (WIDTH - LEFT - RIGHT)
}

/// Round numbers from 0 to not above `end`, about so many.
fn ticks(end: f64, about: u32) -> Vec<f64> {
    let raw = (end / f64::from(about)).max(1e-6);
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= raw * 0.999);
    let step = step.unwrap_or(10.0 * power);
    (0..20).map(|number| f64::from(number) * step).take_while(|tick| *tick <= end * 1.000_001).collect()
}

/// The highest of those that fall together is what is drawn: a peak must not disappear.
fn path(points: &[(f64, Option<f64>)], end: f64, scale: &Scale) -> String {
    let mut path = String::new();
    let mut pen_up = true;
    for part in points.chunks(points.len().div_ceil(POINTS).max(1)) {
        let Some(value) = part.iter().filter_map(|point| point.1).max_by(f64::total_cmp) else {
            // Where nothing was measured for a moment the line goes on: events may be rarer than samples.
            continue;
        };
        let (x, y) = (across(part[0].0, end), scale.y(value));
        let _ = write!(path, "{}{x:.1} {y:.1}", if pen_up { "M" } else { "L" });
        pen_up = false;
    }
    // A single point is seen as a dot.
    if !path.contains('L') {
        path.push_str("h.1");
    }
    path
}

/// In as few characters as it can be read.
pub(crate) fn short(value: f64) -> String {
    let (value, suffix) = match value.abs() {
        large if large >= 1e6 => (value / 1e6, " M"),
        large if large >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let text = if value.abs() >= 100.0 || value == value.trunc() {
        format!("{value:.0}")
    } else if value.abs() >= 1.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}").trim_end_matches('0').to_owned()
    };
    text + suffix
}

fn clock(seconds: f64, end: f64) -> String {
    if end < 180.0 { format!("{seconds:.0} s") } else { format!("{:.1} min", seconds / 60.0) }
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(10.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(7.3, 4), [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(ticks(0.9, 4).len(), 2);
        assert!(ticks(30_000.0, 4).contains(&20_000.0));
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.25, 3.0, 14.26, 999.4, 12_500.0, 3_900_000.0].map(short);
        assert_eq!(shown, ["0", "0.25", "3", "14.3", "999", "12.5 k", "3.9 M"]);
    }

    #[test]
    fn peaks_stay_and_holes_are_bridged() {
        let scale = Scale { low: 0.0, high: 100.0, logarithmic: false };
        let mut points: Vec<(f64, Option<f64>)> = (0..3_600).map(|at| (f64::from(at), Some(1.0))).collect();
        points[1_234].1 = Some(100.0);
        points[77].1 = None;
        let path = path(&points, 3_600.0, &scale);
        assert!(path.contains(&format!(" {TOP:.1}")), "the peak");
        assert_eq!(path.matches('M').count(), 1);
        assert!(path.matches('L').count() <= POINTS);
    }

    #[test]
    fn what_spans_decades_is_drawn_in_decades() {
        let values = [1.0, 2.0, 2.0, 3.0, 9_000.0];
        let scale = Scale::of(values.into_iter(), 9_000.0);
        assert!(scale.logarithmic);
        assert_eq!(scale.ticks(), [1.0, 10.0, 100.0, 1_000.0, 10_000.0]);
        assert!(!Scale::of([1.0, 2.0, 3.0].into_iter(), 3.0).logarithmic);
    }
}

//! Charts as SVG: lines over numbers, or bars over kinds. No fonts are measured and no clock is read, so the same figures
//! give the same bytes.

use std::fmt::Write as _;

use crate::report::{Axis, Chart, Series};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 56.0;
/// Height of one line of the legend.
const LEGEND: f64 = 18.0;
/// Told apart also by people who do not see red and green (Okabe and Ito).
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c8c00"];

/// Where values go.
struct Scale {
    log: bool,
    lo: f64,
    hi: f64,
    from: f64,
    to: f64,
    ticks: Vec<f64>,
}

impl Scale {
    fn new(axis: &Axis, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let finite = values.filter(|v| v.is_finite() && (!axis.log || *v > 0.0));
        let (mut lo, mut hi) = finite.fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
        if lo > hi {
            (lo, hi) = (1.0, 10.0);
        }
        if axis.log {
            let (first, last) =
                (lo.log10().floor() as i32, (hi.log10().ceil() as i32).max(lo.log10().floor() as i32 + 1));
            let ticks = (first..=last).map(|e| 10f64.powi(e)).collect();
            return Self { log: true, lo: 10f64.powi(first), hi: 10f64.powi(last), from, to, ticks };
        }
        let step = nice(hi.max(f64::MIN_POSITIVE) / 5.0);
        let count = (hi / step).ceil().max(1.0) as usize;
        let ticks: Vec<f64> = (0..=count).map(|i| i as f64 * step).collect();
        Self { log: false, lo: 0.0, hi: count as f64 * step, from, to, ticks }
    }

    fn at(&self, value: f64) -> f64 {
        let share = match self.log {
            true => (value.max(self.lo).log10() - self.lo.log10()) / (self.hi.log10() - self.lo.log10()),
            false => (value - self.lo) / (self.hi - self.lo),
        };
        self.from + share * (self.to - self.from)
    }
}

/// The next of 1, 2, 5, 10, … .
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let lead = step / power;
    power * [1.0, 2.0, 5.0, 10.0].into_iter().find(|n| lead <= *n).unwrap_or(10.0)
}

fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size == 0.0 => "0".into(),
        _ if size >= 1e9 => format!("{}G", trimmed(value / 1e9)),
        _ if size >= 1e6 => format!("{}M", trimmed(value / 1e6)),
        _ if size >= 1e4 => format!("{}k", trimmed(value / 1e3)),
        _ => trimmed(value),
    }
}

fn trimmed(value: f64) -> String {
    if value.abs() >= 1000.0 {
        return format!("{value:.0}");
    }
    let text = if value.abs() < 1.0 { format!("{value:.4}") } else { format!("{value:.2}") };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Draws a chart.
#[must_use]
pub fn svg(chart: &Chart) -> String {
    let height = HEIGHT + LEGEND * chart.series.len().div_ceil(2) as f64;
    let all = || chart.series.iter().flat_map(|s| s.points.iter());
    let y = Scale::new(&chart.y, all().map(|p| p[1]), HEIGHT - BOTTOM, TOP);
    let mut out = String::new();
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui, sans-serif\" \
         font-size=\"12\" fill=\"#222\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"15\" font-weight=\"600\">{}</text>\n",
        escaped(&chart.title)
    );
    for tick in &y.ticks {
        let at = y.at(*tick);
        let _ = write!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\n\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            number(*tick)
        );
    }
    match chart.bars.is_empty() {
        true => lines(&mut out, chart, &y),
        false => bars(&mut out, chart, &y),
    }
    let _ = write!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
         <text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 14.0,
        escaped(&chart.x.label),
        (TOP + HEIGHT - BOTTOM) / 2.0,
        escaped(&chart.y.label)
    );
    legend(&mut out, &chart.series);
    out + "</svg>\n"
}

fn lines(out: &mut String, chart: &Chart, y: &Scale) {
    let values = chart.series.iter().flat_map(|s| s.points.iter()).map(|p| p[0]);
    let x = Scale::new(&chart.x, values, LEFT, WIDTH - RIGHT);
    for tick in &x.ticks {
        let at = x.at(*tick);
        let _ = writeln!(
            out,
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - BOTTOM + 18.0,
            number(*tick)
        );
    }
    for (series, colour) in chart.series.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<String> =
            series.points.iter().map(|p| format!("{:.1},{:.1}", x.at(p[0]), y.at(p[1]))).collect();
        let dashes = if series.reported { " stroke-dasharray=\"5 4\"" } else { "" };
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}/>",
            points.join(" ")
        );
        for p in &series.points {
            let _ =
                writeln!(out, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>", x.at(p[0]), y.at(p[1]));
        }
    }
}

fn bars(out: &mut String, chart: &Chart, y: &Scale) {
    let room = (WIDTH - RIGHT - LEFT) / chart.bars.len() as f64;
    let width = (room * 0.8 / chart.series.len().max(1) as f64).min(48.0);
    for (kind, name) in chart.bars.iter().enumerate() {
        let middle = LEFT + room * (kind as f64 + 0.5);
        let _ = writeln!(
            out,
            "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"10\">{}</text>",
            HEIGHT - BOTTOM + 16.0,
            escaped(name)
        );
        for (i, (series, colour)) in chart.series.iter().zip(COLOURS.iter().cycle()).enumerate() {
            let Some(point) = series.points.iter().find(|p| p[0] == kind as f64) else { continue };
            let left = middle + width * (i as f64 - chart.series.len() as f64 / 2.0);
            let (top, foot) = (y.at(point[1]), y.at(y.lo));
            let _ = write!(
                out,
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"9\">{}</text>\n",
                width * 0.92,
                (foot - top).max(0.5),
                left + width / 2.0,
                top - 3.0,
                number(point[1])
            );
        }
    }
}

fn legend(out: &mut String, series: &[Series]) {
    for (i, (one, colour)) in series.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let (x, y) = (LEFT + (i % 2) as f64 * 330.0, HEIGHT + 2.0 + LEGEND * (i / 2) as f64);
        let reported = if one.reported { " (reported)" } else { "" };
        let _ = write!(
            out,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\n\
             <text x=\"{:.1}\" y=\"{y:.1}\">{}{reported}</text>\n",
            y - 10.0,
            x + 18.0,
            escaped(&one.name)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(bars: Vec<String>) -> Chart {
        let mut series = Series::new("ours < theirs");
        series.points = vec![[0.0, 1.0], [1.0, 40.0]];
        Chart {
            name: "c".into(),
            title: "T".into(),
            x: Axis::linear("x"),
            y: Axis::log("ms"),
            bars,
            series: vec![series],
        }
    }

    #[test]
    fn values_go_where_their_axis_says() {
        let y = Scale::new(&Axis::log("ms"), [3.0, 400.0].into_iter(), 300.0, 0.0);
        assert_eq!(y.ticks, [1.0, 10.0, 100.0, 1000.0]);
        assert!((y.at(10.0) - 200.0).abs() < 1e-9, "a third of three decades up");
        let x = Scale::new(&Axis::linear("n"), [7.0].into_iter(), 0.0, 100.0);
        assert_eq!(x.ticks, [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert!((x.at(4.0) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn every_point_is_drawn_and_text_is_escaped() {
        let lines = svg(&chart(Vec::new()));
        assert_eq!(lines.matches("<circle").count(), 2);
        assert!(lines.contains("ours &lt; theirs") && !lines.contains("ours < theirs"));
        let bars = svg(&chart(vec!["a".into(), "b".into()]));
        assert_eq!(bars.matches("<rect").count(), 2 + 2, "two bars, the ground, the legend");
    }

    #[test]
    fn nothing_measured_is_an_empty_chart() {
        let mut empty = chart(Vec::new());
        empty.series.clear();
        assert!(svg(&empty).ends_with("</svg>\n"));
    }
}

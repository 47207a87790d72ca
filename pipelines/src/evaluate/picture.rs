//! A picture of a series: what came, what was expected, what was labelled, and where the alarms are. SVG as text, that needs nothing
//! beside it.
//!
//! ```text
//!   title, key of colours
//!   ┌───────────────────────────┐
//!   │ a panel for each column   │   value, expected from lower to upper, labelled rows as areas, alarms as dots
//!   ├───────────────────────────┤
//!   │ score, or size of errors  │
//!   └─┴──────┴──────┴──────┴────┘   time, or rows
//! ```
//!
//! Of many rows each column of pixels shows the first, the least, the greatest and the last, so nothing that stands out is lost
//! (Jugel et al., "M4: A Visualization-Oriented Time Series Data Aggregation", PVLDB 7(10), 2014).

use std::fmt::Write;

mod axis;

use axis::{labels_of_numbers, labels_of_times};

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 62.0;
const GAP: f64 = 18.0;
const BELOW: f64 = 44.0;
/// The panels of all columns together.
const PANELS_HEIGHT: f64 = 320.0;
const PANEL_HEIGHT_MIN: f64 = 90.0;
const SCORE_HEIGHT: f64 = 120.0;
/// Columns that are shown.
const PANELS_MAX: usize = 8;

const STYLE: &str = "text{font:12px system-ui,'DejaVu Sans',Helvetica,Arial,sans-serif;fill:#3d4852}\
.t{font-size:16px;font-weight:600;fill:#1b1f24}.g{stroke:#e4e8ec;stroke-width:1}.f{fill:none;stroke:#c3cad1}\
.v{fill:none;stroke:#1f3a5f;stroke-width:1.1;stroke-linejoin:round}.e{fill:none;stroke:#5a9bd4;stroke-width:1}\
.b{fill:#9ecae1;fill-opacity:.5}.i{fill:#f6b26b;fill-opacity:.4}.a{fill:#cc1f1a}\
.s{fill:none;stroke:#6b4fa0;stroke-width:1.1;stroke-linejoin:round}";

/// What is shown of a series.
#[derive(Debug)]
pub struct Picture<'a> {
    /// Its name.
    pub title: &'a str,
    /// What the picture says, in a line.
    pub subtitle: &'a str,
    /// The time of each row, microseconds since the epoch.
    pub times_us: &'a [i64],
    /// Whether the axis tells times; else it tells rows.
    pub has_times: bool,
    /// A panel for each column.
    pub panels: Vec<Panel>,
    /// Rows that belong to an incident; empty: none is known.
    pub labels: &'a [bool],
    /// Rows with an alarm; empty: there is nothing that gives any.
    pub alarms: &'a [bool],
    /// What the lowest panel shows: its name, and a number a row.
    pub score: (&'a str, &'a [f64]),
}

/// A column.
#[derive(Debug)]
pub struct Panel {
    /// Its name.
    pub name: String,
    /// Its value in each row.
    pub values: Vec<f64>,
    /// What was expected of it, and from where to where: a number a row; NaN: nothing.
    pub expected: [Vec<f64>; 3],
}

/// A part of the picture and what it shows.
struct Frame {
    top: f64,
    height: f64,
    lowest: f64,
    highest: f64,
}

impl Frame {
    fn y(&self, value: f64) -> f64 {
        let part = (value - self.lowest) / (self.highest - self.lowest);
        // What lies outside is cut off; it need not be drawn where no number reaches.
        self.top + self.height * (1.0 - part.clamp(-5.0, 6.0))
    }
}

impl Picture<'_> {
    /// The picture as the text of an SVG file.
    pub fn svg(&self) -> String {
        let panels = self.panels.len().clamp(1, PANELS_MAX);
        let room = (PANELS_HEIGHT - GAP * (panels - 1) as f64) / panels as f64;
        let panel_height = room.max(PANEL_HEIGHT_MIN);
        let score_top = TOP + (panel_height + GAP) * panels as f64;
        let height = score_top + SCORE_HEIGHT + BELOW;
        let xs = self.xs();
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height:.0}\" viewBox=\"0 0 {WIDTH} {height:.0}\">\
             <style>{STYLE}</style><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        );
        let _ = writeln!(
            svg,
            "<text class=\"t\" x=\"{LEFT}\" y=\"24\">{}</text><text x=\"{LEFT}\" y=\"44\">{}</text>",
            escaped(self.title),
            escaped(self.subtitle)
        );
        self.key(&mut svg);
        let bottom = score_top + SCORE_HEIGHT;
        self.time_axis(&mut svg, &xs, bottom);
        for (number, panel) in self.panels.iter().take(PANELS_MAX).enumerate() {
            let (lowest, highest) = panel.range();
            let top = TOP + (panel_height + GAP) * number as f64;
            let frame = Frame { top, height: panel_height, lowest, highest };
            open(&mut svg, &frame, &format!("p{number}"));
            self.incidents(&mut svg, &xs, &frame);
            let [expected, lower, upper] = &panel.expected;
            band(&mut svg, &xs, lower, upper, &frame);
            path(&mut svg, "e", &xs, expected, &frame);
            path(&mut svg, "v", &xs, &panel.values, &frame);
            self.dots(&mut svg, &xs, &panel.values, &frame);
            close(&mut svg, &frame, if panels > 1 { &panel.name } else { "" });
        }
        let (name, score) = self.score;
        let highest = finite(score).fold(0.0, f64::max);
        let frame = Frame {
            top: score_top,
            height: SCORE_HEIGHT,
            lowest: 0.0,
            highest: if highest > 0.0 { highest * 1.08 } else { 1.0 },
        };
        open(&mut svg, &frame, "s");
        self.incidents(&mut svg, &xs, &frame);
        path(&mut svg, "s", &xs, score, &frame);
        close(&mut svg, &frame, name);
        svg.push_str("</svg>\n");
        svg
    }

    /// Where each row lies, pixels from the left.
    fn xs(&self) -> Vec<f64> {
        let width = WIDTH - LEFT - RIGHT;
        let (first, last) = match (self.times_us.first(), self.times_us.last()) {
            (Some(first), Some(last)) if last > first => (*first, *last),
            (first, _) => (first.copied().unwrap_or(0), first.copied().unwrap_or(0) + 1),
        };
        let part = |time: &i64| (time - first) as f64 / (last - first) as f64;
        self.times_us.iter().map(|time| LEFT + width * part(time)).collect()
    }

    fn key(&self, svg: &mut String) {
        let mut x = WIDTH - RIGHT;
        let mut entry = |text: &str, width: f64, mark: &dyn Fn(f64) -> String| {
            x -= width;
            let _ = write!(svg, "{}<text x=\"{:.0}\" y=\"24\">{text}</text>", mark(x), x + 22.0);
        };
        let area = |class: &'static str| {
            move |x: f64| {
                format!("<rect class=\"{class}\" x=\"{x:.0}\" y=\"13\" width=\"16\" height=\"12\"/>")
            }
        };
        if !self.alarms.is_empty() {
            entry("alarm", 70.0, &|x| {
                format!("<circle class=\"a\" cx=\"{:.0}\" cy=\"20\" r=\"4\"/>", x + 9.0)
            });
        }
        if !self.labels.is_empty() {
            entry("labelled incident", 142.0, &area("i"));
        }
        entry("expected, from lower to upper", 226.0, &area("b"));
        entry("value", 66.0, &|x| {
            format!("<path class=\"v\" style=\"stroke-width:2\" d=\"M{x:.0} 20h16\"/>")
        });
        svg.push('\n');
    }

    fn time_axis(&self, svg: &mut String, xs: &[f64], bottom: f64) {
        let (Some(&first), Some(&last)) = (self.times_us.first(), self.times_us.last()) else { return };
        let labels: Vec<(f64, String)> = if self.has_times && last > first {
            let x = |time: i64| LEFT + (WIDTH - LEFT - RIGHT) * (time - first) as f64 / (last - first) as f64;
            labels_of_times(first, last).into_iter().map(|(time, label)| (x(time), label)).collect()
        } else {
            let labels = labels_of_numbers(0.0, xs.len() as f64 - 1.0, 10);
            let on_a_row = |(row, label): (f64, String)| {
                (row.fract() == 0.0).then(|| xs.get(row as usize).map(|x| (*x, label)))?
            };
            labels.into_iter().filter_map(on_a_row).collect()
        };
        for (x, label) in labels {
            let _ = writeln!(
                svg,
                "<path class=\"g\" d=\"M{x:.1} {TOP}V{:.0}\"/><text x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{label}</text>",
                bottom + 5.0,
                bottom + 20.0
            );
        }
        let name = if self.has_times { "time, UTC" } else { "row" };
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{name}</text>",
            WIDTH - RIGHT,
            bottom + 38.0
        );
    }

    fn incidents(&self, svg: &mut String, xs: &[f64], frame: &Frame) {
        const WIDTH_MIN: f64 = 2.0;
        let mut from = None;
        for row in 0..=self.labels.len() {
            match (from, self.labels.get(row).copied().unwrap_or(false)) {
                (None, true) => from = Some(row),
                (Some(begin), false) => {
                    from = None;
                    let Some((&left, &right)) = xs.get(begin).zip(xs.get(row - 1)) else { continue };
                    let width = (right - left).max(WIDTH_MIN);
                    let _ = writeln!(
                        svg,
                        "<rect class=\"i\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/>",
                        left.min(right - WIDTH_MIN / 2.0),
                        frame.top,
                        frame.height
                    );
                }
                _ => {}
            }
        }
    }

    /// Alarms, at the value of their row: one in each column of pixels.
    fn dots(&self, svg: &mut String, xs: &[f64], values: &[f64], frame: &Frame) {
        let mut last = f64::NEG_INFINITY;
        for (row, _) in self.alarms.iter().enumerate().filter(|(_, alarm)| **alarm) {
            let (Some(&x), Some(&value)) = (xs.get(row), values.get(row)) else { continue };
            if x - last < 1.0 {
                continue;
            }
            last = x;
            // An alarm without a value lies at the foot.
            let y = if value.is_finite() { frame.y(value) } else { frame.top + frame.height - 4.0 };
            let _ = writeln!(svg, "<circle class=\"a\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>");
        }
    }
}

impl Panel {
    /// From where to where it is drawn: its values, and what was expected as far as that doesn't press them flat.
    fn range(&self) -> (f64, f64) {
        let lowest = finite(&self.values).fold(f64::INFINITY, f64::min);
        let highest = finite(&self.values).fold(f64::NEG_INFINITY, f64::max);
        if lowest > highest {
            return (0.0, 1.0);
        }
        let span = match highest - lowest {
            span if span > 0.0 && span.is_finite() => span,
            _ => lowest.abs().max(1.0),
        };
        let [_, lower, upper] = &self.expected;
        let low = finite(lower).fold(lowest, f64::min).max(lowest - 0.3 * span);
        let high = finite(upper).fold(highest, f64::max).min(highest + 0.3 * span);
        (low - 0.06 * span, high + 0.06 * span)
    }
}

fn finite(values: &[f64]) -> impl Iterator<Item = f64> + '_ {
    values.iter().copied().filter(|value| value.is_finite())
}

/// Begins a panel: a grid with numbers, then what is cut off at its frame.
fn open(svg: &mut String, frame: &Frame, id: &str) {
    let (right, width) = (WIDTH - RIGHT, WIDTH - LEFT - RIGHT);
    for (value, label) in labels_of_numbers(frame.lowest, frame.highest, (frame.height / 45.0) as usize) {
        let y = frame.y(value);
        let _ = writeln!(
            svg,
            "<path class=\"g\" d=\"M{LEFT} {y:.1}H{right}\"/><text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 7.0,
            y + 4.0
        );
    }
    let _ = writeln!(
        svg,
        "<clipPath id=\"{id}\"><rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{width}\" height=\"{:.1}\"/></clipPath><g clip-path=\"url(#{id})\">",
        frame.top, frame.height
    );
}

fn close(svg: &mut String, frame: &Frame, name: &str) {
    let _ = writeln!(
        svg,
        "</g><rect class=\"f\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{}\" height=\"{:.1}\"/>\
         <text x=\"{:.0}\" y=\"{:.1}\" style=\"font-weight:600;paint-order:stroke;stroke:#fff;stroke-width:3px\">{}</text>",
        frame.top,
        WIDTH - LEFT - RIGHT,
        frame.height,
        LEFT + 8.0,
        frame.top + 17.0,
        escaped(name)
    );
}

/// The rows of each column of pixels.
fn columns(xs: &[f64]) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    let mut from = 0;
    std::iter::from_fn(move || {
        let x = xs.get(from)?.floor();
        let to = xs[from..].iter().position(|other| other.floor() != x).map_or(xs.len(), |rows| from + rows);
        let rows = from..to;
        from = to;
        Some(rows)
    })
}

/// A line, broken where there is no value in a whole column of pixels.
fn path(svg: &mut String, class: &str, xs: &[f64], values: &[f64], frame: &Frame) {
    let mut path = String::new();
    let mut is_broken = true;
    for rows in columns(xs) {
        let known = || rows.clone().filter(|row| values.get(*row).is_some_and(|value| value.is_finite()));
        let by_value = |a: &usize, b: &usize| values[*a].total_cmp(&values[*b]);
        let ends = [known().next(), known().min_by(by_value), known().max_by(by_value), known().next_back()];
        let mut drawn: Vec<usize> = ends.into_iter().flatten().collect();
        drawn.sort_unstable();
        drawn.dedup();
        if drawn.is_empty() {
            is_broken = true;
        }
        for row in drawn {
            let command = if is_broken { 'M' } else { 'L' };
            is_broken = false;
            // A zero's length makes a dot of a value between missing ones.
            let _ = write!(path, "{command}{:.1} {:.1}", xs[row], frame.y(values[row]));
        }
    }
    let _ = writeln!(svg, "<path class=\"{class}\" d=\"{path}\"/>");
}

/// The area from `lower` to `upper`.
fn band(svg: &mut String, xs: &[f64], lower: &[f64], upper: &[f64], frame: &Frame) {
    let mut corners: Vec<(f64, f64, f64)> = Vec::new();
    let mut path = String::new();
    let draw = |corners: &mut Vec<(f64, f64, f64)>, path: &mut String| {
        for (number, (x, _, upper)) in corners.iter().enumerate() {
            let _ = write!(path, "{}{x:.1} {upper:.1}", if number == 0 { 'M' } else { 'L' });
        }
        for (x, lower, _) in corners.iter().rev() {
            let _ = write!(path, "L{x:.1} {lower:.1}");
        }
        if !corners.is_empty() {
            path.push('Z');
        }
        corners.clear();
    };
    for rows in columns(xs) {
        let x = xs[rows.start];
        let least = rows.clone().filter_map(|row| lower.get(row).copied()).filter(|value| !value.is_nan());
        let greatest = rows.filter_map(|row| upper.get(row).copied()).filter(|value| !value.is_nan());
        match (least.min_by(f64::total_cmp), greatest.max_by(f64::total_cmp)) {
            (Some(least), Some(greatest)) => corners.push((x, frame.y(least), frame.y(greatest))),
            _ => draw(&mut corners, &mut path),
        }
    }
    draw(&mut corners, &mut path);
    let _ = writeln!(svg, "<path class=\"b\" d=\"{path}\"/>");
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // No XML holds these.
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(rows: usize, spike: usize) -> String {
        let times_us: Vec<i64> = (0..rows as i64).map(|row| row * 60_000_000).collect();
        let values: Vec<f64> =
            (0..rows).map(|row| if row == spike { 1000.0 } else { (row % 10) as f64 }).collect();
        let labels: Vec<bool> = (0..rows).map(|row| row == spike).collect();
        let bound = |by: f64| values.iter().map(|value| value + by).collect();
        let panel = Panel {
            name: "value".to_owned(),
            expected: [bound(0.0), bound(-1.0), vec![f64::NAN; rows]],
            values: values.clone(),
        };
        Picture {
            title: "a < b & c",
            subtitle: "",
            times_us: &times_us,
            has_times: false,
            panels: vec![panel],
            labels: &labels,
            alarms: &labels,
            score: ("score", &values),
        }
        .svg()
    }

    #[test]
    fn nothing_that_stands_out_is_lost_among_many_rows() {
        let svg = picture(200_000, 123_456);
        assert!(svg.contains("a &lt; b &amp; c"));
        assert_eq!(svg.matches("<circle class=\"a\" cx").count(), 2, "the alarm and the key");
        // 6 % of the panel's height lie above its greatest value.
        let top_of_spike = TOP + PANELS_HEIGHT * 0.06 / 1.12;
        assert!(svg.contains(&format!(" {top_of_spike:.1}L")), "{top_of_spike}");
        assert!(svg.len() < 400_000, "{} bytes", svg.len());
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn there_is_a_picture_of_a_row_too_and_of_nothing() {
        assert!(picture(1, 5).ends_with("</svg>\n"));
        let nothing = [f64::NAN, f64::INFINITY];
        let panel = Panel {
            name: String::new(),
            values: nothing.to_vec(),
            expected: [nothing.to_vec(), nothing.to_vec(), nothing.to_vec()],
        };
        let picture = Picture {
            title: "",
            subtitle: "",
            times_us: &[5, 5],
            has_times: true,
            panels: vec![panel],
            labels: &[],
            alarms: &[],
            score: ("", &nothing),
        };
        let svg = picture.svg();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}

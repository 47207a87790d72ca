//! A report as one page of HTML that needs nothing beside it: tables, and charts as SVG.

use std::fmt::Write as _;

use super::table::count;
use crate::backtest::{Comparison, GroupDifference, Report, SinkComparison};
use crate::run::SourceSummary;

const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1b1f24; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; } h3 { font-size: 1rem; margin-top: 1.8rem; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem; border-bottom: 1px solid #d8dee4; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.wide { overflow-x: auto; }
.changed { fill: #bf8700; background: #bf8700; } .reference { fill: #cf222e; background: #cf222e; } .variant { fill: #1a7f37; background: #1a7f37; }
.key { display: inline-block; width: .8rem; height: .8rem; margin: 0 .3rem 0 1rem; border-radius: 2px; }
svg { width: 100%; height: 9rem; background: #f6f8fa; border-radius: 6px; }
.none { color: #1a7f37; } .some { color: #bc4c00; }
@media (prefers-color-scheme: dark) { body { background: #0d1117; color: #e6edf3; } th, td { border-color: #30363d; } svg { background: #161b22; } }
";
/// Bars of a chart: of more windows, several share one.
const BARS_MAX: usize = 240;

/// The page.
pub(super) fn html(report: &Report) -> String {
    let mut page = String::new();
    let title = format!("{}: a backtest", report.pipeline);
    let until = |time: &Option<String>, otherwise: &str| escaped(time.as_deref().unwrap_or(otherwise));
    let _ = write!(
        page,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>{0}</title>\
         <style>{STYLE}</style><h1>{0}</h1><p>Results from {1} to {2}.</p>",
        escaped(&title),
        until(&report.from, "the first record"),
        until(&report.to, "the last")
    );
    let rows = report.runs.iter().map(|run| {
        let sum = |of: fn(&SourceSummary) -> u64| count(run.summary.sources.iter().map(of).sum());
        let seconds = format!("{:.1}", run.summary.seconds);
        vec![
            if run.about.is_empty() { run.name.clone() } else { format!("{}: {}", run.name, run.about) },
            sum(|source| source.read),
            sum(|source| source.accepted),
            sum(|source| source.late),
            sum(|source| source.rejected),
            seconds,
        ]
    });
    page.push_str("<h2>What ran</h2>");
    table(&mut page, &["run", "read", "accepted", "late", "rejected", "seconds"], rows);
    for comparison in &report.comparisons {
        compared(&mut page, comparison);
    }
    page.push_str("</html>\n");
    page
}

fn compared(page: &mut String, comparison: &Comparison) {
    let about = if comparison.about.is_empty() { String::new() } else { format!(" ({})", comparison.about) };
    let differs = comparison.differs();
    let (class, words) = if differs { ("some", "they differ") } else { ("none", "no difference") };
    let _ = write!(
        page,
        "<h2>{}{} against {}: <span class={class}>{words}</span></h2>",
        escaped(&comparison.variant),
        escaped(&about),
        escaped(&comparison.reference)
    );
    let rows = comparison.sinks.iter().map(|sink| match &sink.not_comparable {
        Some(why) => vec![sink.sink.clone(), format!("not compared: {why}")],
        None => {
            let counts = [
                sink.reference_rows,
                sink.variant_rows,
                sink.only_reference,
                sink.only_variant,
                sink.changed,
            ];
            std::iter::once(sink.sink.clone()).chain(counts.map(count)).collect()
        }
    });
    let header = [
        "sink",
        "rows of the reference",
        "rows of the variant",
        "only there",
        "only in the variant",
        "changed",
    ];
    table(page, &header, rows);
    comparison.sinks.iter().filter(|sink| sink.differs()).for_each(|sink| details(page, sink));
}

fn details(page: &mut String, sink: &SinkComparison) {
    let _ = write!(page, "<h3>{}</h3>", escaped(&sink.sink));
    chart(page, &sink.by_window);
    let changed = sink.columns.iter().filter(|column| column.changed > 0).map(|column| {
        let mut cells = vec![column.column.clone(), count(column.changed)];
        if let (Some(quantiles), Some(mean)) = (column.difference, column.mean) {
            cells.extend(quantiles.into_iter().chain([mean]).map(|figure| format!("{figure:.4}")));
        }
        cells
    });
    table(page, &["column", "rows changed", "least", "p5", "median", "p95", "greatest", "mean"], changed);
    if !sink.by_key.is_empty() {
        let keys = sink.keys.iter().skip(1).map(String::as_str);
        let header: Vec<&str> = keys.chain(["only reference", "only variant", "changed"]).collect();
        let rows = sink.by_key.iter().map(|group| {
            let counts = [group.only_reference, group.only_variant, group.changed].map(count);
            group.of.iter().map(shown).chain(counts).collect()
        });
        table(page, &header, rows);
    }
    if let Some(first) = sink.rows.first() {
        let header: Vec<&str> = std::iter::once("").chain(first.columns.iter().map(String::as_str)).collect();
        let rows = sink.rows.iter().flat_map(|row| {
            let sides = [("reference", &row.reference), ("variant", &row.variant)];
            sides.into_iter().filter_map(|(name, values)| {
                let values = values.as_ref()?;
                Some(std::iter::once(name.to_owned()).chain(values.iter().map(shown)).collect())
            })
        });
        table(page, &header, rows);
    }
}

fn shown(value: &Option<String>) -> String {
    value.clone().unwrap_or_else(|| "null".to_owned())
}

// A bar a window, its differences on top of each other.
fn chart(page: &mut String, windows: &[GroupDifference]) {
    if windows.is_empty() {
        return;
    }
    let counts = |window: &GroupDifference| [window.changed, window.only_reference, window.only_variant];
    let together = windows.len().div_ceil(BARS_MAX);
    let bars: Vec<(String, [u64; 3])> = windows
        .chunks(together)
        .map(|chunk| {
            let sum = |at: usize| chunk.iter().map(|window| counts(window)[at]).sum();
            (chunk[0].of.first().map(shown).unwrap_or_default(), [sum(0), sum(1), sum(2)])
        })
        .collect();
    let highest = bars.iter().map(|(_, counts)| counts.iter().sum::<u64>()).max().unwrap_or(1).max(1);
    let width = 1000.0 / bars.len() as f64;
    page.push_str(
        "<p><span class=\"key changed\"></span>changed<span class=\"key reference\"></span>only in the reference\
         <span class=\"key variant\"></span>only in the variant, by window</p>",
    );
    page.push_str("<svg viewBox=\"0 0 1000 140\" preserveAspectRatio=none role=img aria-label=\"differences by window\">");
    for (at, (start, counts)) in bars.iter().enumerate() {
        let mut top = 140.0;
        for (count, class) in counts.iter().zip(["changed", "reference", "variant"]) {
            let height = *count as f64 / highest as f64 * 130.0;
            top -= height;
            if *count > 0 {
                let _ = write!(
                    page,
                    "<rect class={class} x={:.2} y={top:.2} width={:.2} height={height:.2}><title>{}: {count} {class}</title></rect>",
                    at as f64 * width,
                    width * 0.9,
                    escaped(start)
                );
            }
        }
    }
    page.push_str("</svg>");
    let first = bars.first().map(|(start, _)| start.as_str()).unwrap_or_default();
    let last = bars.last().map(|(start, _)| start.as_str()).unwrap_or_default();
    let _ =
        write!(page, "<p>{} … {}; at most {} rows a bar</p>", escaped(first), escaped(last), count(highest));
}

fn table(page: &mut String, header: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    page.push_str("<div class=wide><table><tr>");
    for name in header {
        let _ = write!(page, "<th>{}", escaped(name));
    }
    for row in rows {
        page.push_str("<tr>");
        for cell in row {
            let _ = write!(page, "<td>{}", escaped(&cell));
        }
    }
    page.push_str("</table></div>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_users_is_no_markup() {
        assert_eq!(escaped("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    }
}

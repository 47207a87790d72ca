//! Two mistakes at once: each is said as if it were alone, and nothing else. Mistakes are planted into the good specs and the catalogue,
//! line by line; those are taken that are one problem when they are alone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use thalweg::plan;

/// A line of a spec with a mistake in it.
#[derive(Debug, Clone)]
struct Mistake {
    kind: &'static str,
    line: usize,
    text: String,
    /// Lines and messages.
    said: BTreeSet<(usize, String)>,
}

fn files() -> Vec<PathBuf> {
    let of = |folder: &str| {
        let files = std::fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path());
        files.collect::<Vec<_>>()
    };
    let name = |file: &PathBuf| file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let good = of("tests/specs").into_iter().filter(|file| name(file).starts_with("good_"));
    let catalogue = of("src/catalogue").into_iter().filter(|file| !name(file).ends_with(thalweg::testing::ENDING));
    let mut files: Vec<PathBuf> =
        good.chain(catalogue).filter(|file| file.extension().is_some_and(|each| each == "yaml")).collect();
    files.sort();
    files
}

fn said(lines: &[String], file: &Path) -> BTreeSet<(usize, String)> {
    let environment = |name: &str| (name == "BROKERS").then(|| "kafka:9092".to_owned());
    let problems = plan::load(&lines.join("\n"), file, &environment).err().unwrap_or_default();
    problems.into_iter().map(|problem| (problem.line, problem.message)).collect()
}

/// The ways in which a line may be wrong.
fn wrong(line: &str) -> Vec<(&'static str, String)> {
    let content = line.trim_start();
    let indent = line.len() - content.len();
    let mut wrong = Vec::new();
    if content.is_empty() || content.starts_with('#') {
        return wrong;
    }
    if indent > 0 {
        wrong.push(("a tab", format!("\t{content}")));
        wrong.push(("a tab behind spaces", format!("{}\t{content}", &line[..indent - 1])));
    }
    let after = |start: &str| content.strip_prefix(start).map(|_| line.len());
    let is_plain = !content.ends_with(['}', ']', '"', '\'', '|', '>', ':']);
    for key in ["where: ", "having: "] {
        if after(key).is_some() && is_plain {
            for (kind, more) in [
                ("an unknown column", "nosuch > 1"),
                ("an unknown function", "nosuch(1) > 1"),
                ("types", "1 + true > 1"),
                ("an operator", "-'x' > '1'"),
                ("a number of arguments", "upper('x', 'y') = 'x'"),
                ("no SQL", "and"),
                ("a type", "cast(1 as strng) > 1"),
            ] {
                wrong.push((kind, format!("{line} and {more}")));
            }
        }
    }
    let mut replaced = |kind: &'static str, from: &str, to: &str| {
        if line.contains(from) {
            wrong.push((kind, line.replacen(from, to, 1)));
        }
    };
    replaced("an unknown key", "by: [", "by: [nosuch, ");
    replaced("a key of two words", "by: [", "by: [\"no such\", ");
    replaced("a list as key", "by: [", "by: [[a], ");
    replaced("an unknown partition", "partition_by: [", "partition_by: [nosuch, ");
    replaced("an unknown aggregate", "count(*)", "cout(*)");
    replaced("too many arguments", "sum(", "sum(1, ");
    replaced("a sum of texts", "count(*)", "sum('x')");
    replaced("an unknown column inside", "max(", "max(nosuch + ");
    replaced("a duration", "1m", "1 mn");
    replaced("a time zone", "Europe/", "Europa/");
    replaced("a misspelt select", "select:", "selct:");
    replaced("a misspelt by", "by:", "byy:");
    replaced("a misspelt where", "where:", "wher:");
    replaced("a misspelt window", "window:", "windw:");
    replaced("a misspelt having", "having:", "havin:");
    replaced("a misspelt event_time", "event_time:", "event_tme:");
    replaced("a misspelt schema", "schema:", "schem:");
    replaced("a misspelt archive", "archive:", "archve:");
    replaced("a misspelt parquet", "parquet:", "parqet:");
    replaced("a misspelt partition_by", "partition_by:", "partition_byy:");
    replaced("a misspelt window kind", "tumbling:", "tumblin:");
    replaced("a strange field", "from:", "strange: 1, from:");
    replaced("an unknown schema", "schema: ", "schema: no_");
    replaced("an unknown field", "field: ", "field: no_");
    replaced("no space behind the colon", ": ", ":");
    replaced("a colon in a value", ": ", ": a: ");
    replaced("a quote that is never closed", ": ", ": \"");
    if let Some(open) = line.strip_suffix('}') {
        wrong.push(("a brace that is never closed", open.to_owned()));
        wrong.push(("a strange entry", format!("{open}, nosuch: 1 }}")));
    }
    wrong
}

#[test]
fn of_two_mistakes_each_is_said_and_nothing_else() {
    let (mut alone, mut pairs) = (0, 0);
    let mut failures: Vec<String> = Vec::new();
    for file in files() {
        let text = std::fs::read_to_string(&file).expect("a spec");
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut mistakes: Vec<Mistake> = Vec::new();
        for (line, good) in lines.iter().enumerate() {
            for (kind, text) in wrong(good) {
                let mut changed = lines.clone();
                changed[line].clone_from(&text);
                let said = said(&changed, &file);
                alone += 1;
                if said.len() > 1 || (kind.starts_with("a tab") && said.len() != 1) {
                    failures.push(format!("{}:{}: {kind}: {text}\n  {said:?}", file.display(), line + 1));
                }
                if said.len() == 1 {
                    mistakes.push(Mistake { kind, line, text, said });
                }
            }
        }
        for (index, first) in mistakes.iter().enumerate() {
            // Some of all pairs, the same ones each time.
            for second in mistakes.iter().skip(index + 1).filter(|second| second.line != first.line).step_by(7) {
                let mut changed = lines.clone();
                changed[first.line].clone_from(&first.text);
                changed[second.line].clone_from(&second.text);
                let expected: BTreeSet<_> = first.said.union(&second.said).cloned().collect();
                let found = said(&changed, &file);
                pairs += 1;
                if found != expected {
                    failures.push(format!(
                        "{}:{}: {}: {}\n{}: {}: {}\n  missing {:?}\n  too much {:?}",
                        file.display(),
                        first.line + 1,
                        first.kind,
                        first.text,
                        second.line + 1,
                        second.kind,
                        second.text,
                        expected.difference(&found).collect::<Vec<_>>(),
                        found.difference(&expected).collect::<Vec<_>>(),
                    ));
                }
            }
        }
    }
    eprintln!("{alone} alone, {pairs} pairs, {} failures", failures.len());
    assert!(failures.is_empty(), "{} of {pairs}:\n{}", failures.len(), failures.join("\n"));
}

//! Two mistakes at once: each is said as if it were alone, and nothing else. Mistakes are planted into the good specs and the catalogue,
//! line by line; those are taken that are one problem when they are alone. Pairs of kinds of mistakes are tried, the same ones each
//! time: one of every second, or as many of each as `THALWEG_PAIRS` says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use thalweg::{plan, testing};

/// Of a line with a mistake of these kinds it can't be said which names it was to give to columns or fields: of a name that may be one of
/// them nothing is said elsewhere. A key that is no column may be named where the step's columns are.
const NAMES_LOST: [&str; 7] = [
    "a colon in a value",
    "a list as key",
    "a name of a field",
    "a quote that is never closed",
    "a strange entry",
    "an unknown key",
    "an unknown schema",
];

/// A line of a spec with a mistake in it.
#[derive(Debug, Clone)]
struct Mistake {
    kind: &'static str,
    line: usize,
    text: String,
}

/// Lines and messages.
type Said = BTreeSet<(usize, String)>;

/// A spec, and the mistakes that can be made in it.
struct Spec {
    file: PathBuf,
    lines: Vec<String>,
    mistakes: Vec<Mistake>,
    /// What is said of a mistake alone, by its number.
    alone: BTreeMap<usize, Said>,
}

impl Spec {
    fn new(file: PathBuf) -> Spec {
        let text = std::fs::read_to_string(&file).expect("a spec");
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let of_line = |(line, good): (usize, &String)| {
            wrong(good).into_iter().map(move |(kind, text)| Mistake { kind, line, text }).collect::<Vec<_>>()
        };
        let mistakes = lines.iter().enumerate().flat_map(of_line).collect();
        Spec { file, lines, mistakes, alone: BTreeMap::new() }
    }

    fn with(&self, mistakes: &[usize]) -> Said {
        let mut lines = self.lines.clone();
        for mistake in mistakes.iter().map(|index| &self.mistakes[*index]) {
            lines[mistake.line].clone_from(&mistake.text);
        }
        said(&lines, &self.file)
    }

    fn alone(&mut self, mistake: usize) -> Said {
        if let Some(said) = self.alone.get(&mistake) {
            return said.clone();
        }
        let said = self.with(&[mistake]);
        self.alone.insert(mistake, said.clone());
        said
    }

    /// The numbers of all mistakes of a kind.
    fn of_kind(&self, kind: &str) -> Vec<usize> {
        (0..self.mistakes.len()).filter(|index| self.mistakes[*index].kind == kind).collect()
    }

    fn shown(&self, mistake: usize) -> String {
        let Mistake { kind, line, text } = &self.mistakes[mistake];
        format!("{}:{}: {kind}: {text}", self.file.display(), line + 1)
    }
}

/// Numbers that look random, the same ones each time (Knuth's MMIX).
struct Numbers(u64);

impl Numbers {
    /// One that is less than `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % end.max(1)
    }
}

fn files() -> Vec<PathBuf> {
    let of = |folder: &str| {
        let files = std::fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path());
        files.collect::<Vec<_>>()
    };
    let name =
        |file: &PathBuf| file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let good = of("tests/specs").into_iter().filter(|file| name(file).starts_with("good_"));
    let mut files: Vec<PathBuf> = good
        .chain(of("src/catalogue"))
        .filter(|file| file.extension().is_some_and(|each| each == "yaml"))
        .collect();
    files.sort();
    files
}

fn said(lines: &[String], file: &Path) -> Said {
    let environment = |name: &str| (name == "BROKERS").then(|| "kafka:9092".to_owned());
    let text = lines.join("\n");
    let problems = match file.to_string_lossy().ends_with(testing::ENDING) {
        true => testing::load_text(&text, file).problems,
        false => plan::load(&text, file, &environment).err().unwrap_or_default(),
    };
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
                ("no SQL", "1 )"),
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
    // A key is a column: what else is named in the spec must not be called so.
    replaced("an unknown key", " by: [", " by: [nokey, ");
    replaced("a key of two words", " by: [", " by: [\"no such\", ");
    replaced("a list as key", " by: [", " by: [[a], ");
    replaced("an unknown partition", "partition_by: [", "partition_by: [nofolder, ");
    replaced("an unknown aggregate", "count(*)", "cout(*)");
    replaced("too many arguments", "sum(", "sum(1, ");
    replaced("a sum of texts", "count(*)", "sum('x')");
    replaced("an unknown column inside", "max(", "max(nosuch + ");
    replaced("a duration", "1m", "1 mn");
    replaced("a time zone", "Europe/", "Europa/");
    replaced("a type of a field", "type: ", "type: x");
    replaced("a misspelt type", "type: ", "typ: ");
    replaced("a misspelt name", "{ name: ", "{ nam: ");
    replaced("a name of a field", "{ name: ", "{ name: My");
    replaced("a wrong truth", "required: true", "required: maybe");
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
    replaced("a strange field", "{ from:", "{ strange: 1, from:");
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

/// Mistakes that leave the rest of their line as it is.
const INSIDE: [&str; 22] = [
    "a duration",
    "a misspelt having",
    "a misspelt partition_by",
    "a misspelt type",
    "a misspelt where",
    "a misspelt window kind",
    "a number of arguments",
    "a strange field",
    "a sum of texts",
    "a time zone",
    "a type",
    "a type of a field",
    "a wrong truth",
    "an operator",
    "an unknown aggregate",
    "an unknown column",
    "an unknown column inside",
    "an unknown function",
    "an unknown partition",
    "no SQL",
    "too many arguments",
    "types",
];

/// Whether two mistakes may be made with one call.
fn is_one_call(kind: &str, other: &str) -> bool {
    kind == "a sum of texts" && other == "too many arguments"
}

#[test]
fn of_two_mistakes_of_one_line_each_is_said_and_nothing_else() {
    const EACH: usize = 3;
    let mut specs: Vec<Spec> = files().into_iter().map(Spec::new).collect();
    let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut failures = BTreeSet::new();
    for spec in &mut specs {
        for first in 0..spec.mistakes.len() {
            let Mistake { kind, line, text } = spec.mistakes[first].clone();
            if !INSIDE.contains(&kind) {
                continue;
            }
            for (second, both) in wrong(&text) {
                // An end that is lost may be lost beside any other mistake.
                let is_end =
                    ["a brace that is never closed", "a quote that is never closed"].contains(&second);
                let found = seen.entry((kind, second)).or_default();
                let is_asked_for = is_end || INSIDE.contains(&second);
                let is_other = second != kind && !is_one_call(kind, second) && !is_one_call(second, kind);
                if *found == EACH || !is_asked_for || !is_other {
                    continue;
                }
                let of_second =
                    |each: &usize| spec.mistakes[*each].line == line && spec.mistakes[*each].kind == second;
                let Some(other) = (0..spec.mistakes.len()).find(of_second) else { continue };
                let alone = [spec.alone(first), spec.alone(other)];
                if alone.iter().any(|said| said.len() != 1) {
                    continue;
                }
                *found += 1;
                let mut lines = spec.lines.clone();
                lines[line].clone_from(&both);
                let said = said(&lines, &spec.file);
                let expected: Said = alone.iter().flatten().cloned().collect();
                if said != expected {
                    let missing: Vec<_> = expected.difference(&said).collect();
                    let more: Vec<_> = said.difference(&expected).collect();
                    let place = format!("{}:{}: {kind}, {second}", spec.file.display(), line + 1);
                    failures.insert(format!("{place}: {both}\n  missing {missing:?}\n  too much {more:?}"));
                }
            }
        }
    }
    let pairs: usize = seen.values().sum();
    assert!(pairs > 150, "{pairs} pairs were found");
    let shown: Vec<String> = failures.into_iter().collect();
    assert!(shown.is_empty(), "{} of {pairs}:\n{}", shown.len(), shown.join("\n"));
}

#[test]
fn of_two_mistakes_each_is_said_and_nothing_else() {
    const TRIES: usize = 6;
    let pairs_each: usize =
        std::env::var("THALWEG_PAIRS").ok().and_then(|number| number.parse().ok()).unwrap_or(1);
    let mut specs: Vec<Spec> = files().into_iter().map(Spec::new).collect();
    let kinds: BTreeSet<&str> =
        specs.iter().flat_map(|spec| spec.mistakes.iter().map(|mistake| mistake.kind)).collect();
    let kinds: Vec<&str> = kinds.into_iter().collect();
    let mut numbers = Numbers(1);
    let (mut pairs, mut failures) = (0, BTreeSet::new());
    for (index, first) in kinds.iter().enumerate() {
        // Every second one, where not all are asked for.
        for second in kinds[index..].iter().step_by(if pairs_each == 1 { 2 } else { 1 }) {
            let with_both: Vec<usize> = (0..specs.len())
                .filter(|spec| {
                    let has = |kind: &str| specs[*spec].mistakes.iter().any(|mistake| mistake.kind == kind);
                    has(first) && has(second)
                })
                .collect();
            if with_both.is_empty() {
                continue;
            }
            let mut found = 0;
            for _ in 0..TRIES * pairs_each {
                let spec = &mut specs[with_both[numbers.below(with_both.len())]];
                let mut any = |kind: &str| {
                    let of_kind = spec.of_kind(kind);
                    of_kind[numbers.below(of_kind.len())]
                };
                let both = [any(first), any(second)];
                if spec.mistakes[both[0]].line == spec.mistakes[both[1]].line || found == pairs_each {
                    continue;
                }
                let alone = both.map(|mistake| spec.alone(mistake));
                for (mistake, said) in both.into_iter().zip(&alone) {
                    // The parser takes some tabs behind spaces for what is meant.
                    if said.len() > 1 || (spec.mistakes[mistake].kind == "a tab" && said.is_empty()) {
                        failures.insert(format!("{}\n  alone {said:?}", spec.shown(mistake)));
                    }
                }
                if alone.iter().any(|said| said.len() != 1) {
                    continue;
                }
                let said = spec.with(&both);
                (found, pairs) = (found + 1, pairs + 1);
                let is_of_name =
                    |message: &str| message.starts_with("unknown column") || message.contains("has no field");
                let mut missing: Vec<&(usize, String)> = Vec::new();
                for (of_one, other) in alone.iter().zip(both.iter().rev()) {
                    let is_hidden = NAMES_LOST.contains(&spec.mistakes[*other].kind);
                    let lacking = of_one.difference(&said);
                    missing.extend(lacking.filter(|(_, message)| !(is_hidden && is_of_name(message))));
                }
                let is_more = |each: &&(usize, String)| alone.iter().all(|said| !said.contains(*each));
                let more: Vec<&(usize, String)> = said.iter().filter(is_more).collect();
                if !missing.is_empty() || !more.is_empty() {
                    failures.insert(format!(
                        "{}\n{}\n  missing {:?}\n  too much {:?}",
                        spec.shown(both[0]),
                        spec.shown(both[1]),
                        missing,
                        more,
                    ));
                }
            }
        }
    }
    assert!(pairs > 250, "{pairs} pairs were found");
    let shown: Vec<String> = failures.into_iter().collect();
    assert!(shown.is_empty(), "{} of {pairs}:\n{}", shown.len(), shown.join("\n"));
}

//! How good the alarms of `auto` are, asked for one false one a day: planted incidents, creeps, series in which nothing happens, and labelled ones.
//!
//! `cargo run --release -p thalweg-series --example detect_quality [planted|weeks|creeps|quiet|real] [FOLDER]`
//!
//! Sizes of planted incidents are in standard deviations of the noise of the whole series (of t with 4 degrees of freedom, that is 1.41 times its
//! scale; of noise that follows the hour of the day, the root of the mean square over the day).

#![allow(clippy::print_stdout, reason = "a program that prints a table")]

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use thalweg_series::Observation;
use thalweg_series::detect::{Class, Detector, DetectorConfig, Method, Verdict};
use thalweg_series::measure::{AlarmRule, Labelled, alarms_at, find_length_rank, vus_pr};
use thalweg_series::synthetic::{DAY_US, IncidentKind, Kind, Noise, Random, Recipe, spread};

const MINUTE_US: i64 = 60_000_000;
const DAY: usize = 1440;
const DAYS: usize = 30;

/// Sixty rows of one alarm disturb once, and a series takes two hours to recover.
const RULE: AlarmRule = AlarmRule { event_rows: 60, grace_rows: 120 };

/// Makes the values of a seed.
type Maker = Box<dyn Fn(u64) -> Vec<f64>>;

/// What was said of a row: its score, and its class where it is an anomaly.
type Said = (f64, Option<Class>);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let wanted = |name: &str| arguments.is_empty() || arguments[0] == name;
    if wanted("planted") {
        planted();
    }
    if wanted("weeks") {
        weeks();
    }
    if wanted("creeps") {
        creeps();
    }
    if wanted("quiet") {
        quiet();
    }
    if let Some(folder) = arguments.get(1).filter(|_| wanted("real")) {
        real(Path::new(folder))?;
    }
    Ok(())
}

fn said(rows: impl Iterator<Item = Vec<f64>>, interval_us: i64, season: bool) -> Vec<Said> {
    let mut rows = rows.peekable();
    let inputs = rows.peek().map_or(1, Vec::len);
    let config = DetectorConfig {
        method: Method::Auto,
        inputs,
        interval_us: Some(interval_us),
        season_us: season.then_some(DAY_US),
        false_alarms: 1.0,
        false_alarms_per_us: DAY_US,
        settle_us: 60 * MINUTE_US,
    };
    let mut detector = Detector::new(config).expect("a configuration within range");
    let mut state = detector.begin();
    let mut verdict = Verdict::default();
    let of_row = |(row, values): (usize, Vec<f64>)| {
        let time_us = row as i64 * interval_us;
        detector.observe(
            &mut state,
            Observation { time_us, local_us: time_us, values: &values },
            &mut verdict,
        );
        (verdict.score, verdict.class)
    };
    rows.enumerate().map(of_row).collect()
}

/// Rows in which an alarm begins.
fn begins(said: &[Said]) -> impl Iterator<Item = usize> + '_ {
    let on = |row: usize| said[row].1.is_some();
    (0..said.len()).filter(move |row| on(*row) && (*row == 0 || !on(row - 1)))
}

fn ones(values: Vec<f64>) -> impl Iterator<Item = Vec<f64>> {
    values.into_iter().map(|value| vec![value])
}

/// Incidents in seasons of 200 keys, 30 days of minutes, from day 6 on; an alarm within two rows after an incident has found it, too.
fn planted() {
    const SEEDS: u64 = 40;
    println!("planted incidents found (of 200; median delay, rows), and false alarms a day from day 5 on");
    let (mut all, mut found_all) = ([0, 0], [0, 0]);
    for noise in Noise::ALL {
        print!("{:16}", format!("{noise:?}"));
        let (mut alarms, mut classes) = (0, Vec::new());
        for kind in [
            IncidentKind::Spike,
            IncidentKind::LevelShift,
            IncidentKind::SlopeChange,
            IncidentKind::MissingSeason,
        ] {
            let (mut delays, mut count) = (Vec::new(), 0);
            for seed in 0..SEEDS {
                let kind_of_series = Kind::Season { noise, weekly: false };
                let recipe = Recipe {
                    kind: kind_of_series,
                    rows: DAYS * DAY,
                    interval_us: MINUTE_US,
                    seed: 100 + seed,
                };
                let mut series = recipe.generate();
                if kind == IncidentKind::Spike {
                    let said = said(ones(series.values.clone()), MINUTE_US, true);
                    alarms += begins(&said).filter(|row| *row >= 4 * DAY).count();
                }
                let incidents = spread(&[kind], 5, 6 * DAY..DAYS * DAY, MINUTE_US, (6.0, 3.0), seed);
                incidents.iter().for_each(|incident| series.plant(*incident));
                let said = said(ones(series.values), MINUTE_US, true);
                count += incidents.len();
                for incident in incidents {
                    let rows = incident.from..(incident.to + 2).min(said.len());
                    if let Some(row) = rows.clone().find(|row| said[*row].1.is_some()) {
                        delays.push(row - incident.from);
                        let last = rows.rev().find_map(|row| said[row].1);
                        classes.extend(last.map(|class| (kind, class)));
                    }
                }
            }
            delays.sort_unstable();
            // Of spikes of 6σ in heavy tails more come by themselves than alarms are asked for.
            let of = usize::from(noise == Noise::HeavyTails && kind == IncidentKind::Spike);
            all[of] += count;
            found_all[of] += delays.len();
            print!("  {} {:3} ({})", kind.name(), delays.len(), delays.get(delays.len() / 2).unwrap_or(&0));
        }
        println!("  false {:.2}", alarms as f64 / (SEEDS as f64 * (DAYS as f64 - 4.0)));
        let count = |kind, class| classes.iter().filter(|of| **of == (kind, class)).count();
        let slopes = [Class::Trend, Class::Drift, Class::Seasonal, Class::Spike]
            .map(|class| format!("{} {}", class.name(), count(IncidentKind::SlopeChange, class)));
        let shifts = [Class::Trend, Class::Drift, Class::Seasonal, Class::Spike]
            .map(|class| format!("{} {}", class.name(), count(IncidentKind::LevelShift, class)));
        println!("{:16}  slopes called {}; shifts {}", "", slopes.join(", "), shifts.join(", "));
    }
    let share = |found: usize, all: usize| found as f64 / all as f64;
    println!(
        "found {} of {}: {:.3}; spikes in heavy tails left out: {:.3}",
        found_all[0] + found_all[1],
        all[0] + all[1],
        share(found_all[0] + found_all[1], all[0] + all[1]),
        share(found_all[0], all[0])
    );
}

/// Seasons whose weekends are lower, 35 days of minutes: false alarms, and incidents of the last two weeks.
fn weeks() {
    const SEEDS: u64 = 20;
    const WEEKS: usize = 5;
    println!(
        "weekends that are lower: false alarms a day in each week; incidents of weeks 4 and 5 found, of 100"
    );
    for noise in Noise::ALL {
        let series = |seed| {
            let kind = Kind::Season { noise, weekly: true };
            Recipe { kind, rows: WEEKS * 7 * DAY, interval_us: MINUTE_US, seed: 500 + seed }.generate()
        };
        let mut counts = [0; WEEKS];
        for seed in 0..SEEDS {
            for row in begins(&said(ones(series(seed).values), MINUTE_US, true)) {
                counts[row / (7 * DAY)] += 1;
            }
        }
        print!("  {:16}", format!("{noise:?}"));
        counts.iter().for_each(|count| print!(" {:5.2}", f64::from(*count) / 7.0 / SEEDS as f64));
        for kind in [
            IncidentKind::Spike,
            IncidentKind::LevelShift,
            IncidentKind::SlopeChange,
            IncidentKind::MissingSeason,
        ] {
            let mut found = 0;
            for seed in 0..SEEDS {
                let mut series = series(seed);
                let incidents = spread(&[kind], 5, 22 * DAY..WEEKS * 7 * DAY, MINUTE_US, (6.0, 3.0), seed);
                incidents.iter().for_each(|incident| series.plant(*incident));
                let said = said(ones(series.values), MINUTE_US, true);
                let is_found = |from: usize, to: usize| {
                    said[from..to.min(said.len())].iter().any(|said| said.1.is_some())
                };
                found += incidents.iter().filter(|incident| is_found(incident.from, incident.to + 2)).count();
            }
            print!("  {} {found}", kind.name());
        }
        println!();
    }
}

/// Latency that climbs to 2.5 times the usual over 270 rows of 10 s, noise 15 %: how many of 40 are found, how high it is by then, and what it is called.
fn creeps() {
    const SEEDS: u64 = 40;
    println!(
        "creeps to 2.5 times over 270 rows: found of {SEEDS}, median height when found, false alarms before, classes"
    );
    for before in [60usize, 150, 400, 2000] {
        for inputs in [1, 3] {
            let (mut heights, mut early, mut classes) = (Vec::new(), 0, Vec::new());
            for seed in 0..SEEDS {
                let mut random = Random::new(seed);
                let rows = (0..before + 270).map(|row| {
                    let height = 1.0 + 1.5 * row.saturating_sub(before) as f64 / 270.0;
                    let usual = [4900.0, 0.02, 300.0];
                    let times = |input: usize| if input == 0 { height } else { 1.0 };
                    let noise = |random: &mut Random| libm::exp(0.15 * random.normal());
                    (0..inputs).map(|input| usual[input] * times(input) * noise(&mut random)).collect()
                });
                let said = said(rows, MINUTE_US / 6, false);
                early += begins(&said).filter(|row| *row < before).count();
                if let Some(row) = begins(&said).find(|row| *row >= before) {
                    heights.push(1.0 + 1.5 * (row - before) as f64 / 270.0);
                    classes.extend(said[row..].iter().rev().find_map(|said| said.1));
                }
            }
            heights.sort_unstable_by(f64::total_cmp);
            let trends = classes.iter().filter(|class| **class == Class::Trend).count();
            let height = heights.get(heights.len() / 2).unwrap_or(&f64::NAN);
            println!(
                "  {before:4} rows before, {inputs} inputs: {} at {height:.2}, false {early}, TREND {trends}",
                heights.len()
            );
        }
    }
}

/// Series in which nothing happens that is worth an alarm; the smallest part of a day first.
fn quiet() {
    const SEEDS: u64 = 10;
    println!(
        "false alarms a day of quiet series: first 2 hours (a series), rest of day 1, days 2-4, later; of which TREND"
    );
    let mut kinds: Vec<(String, Maker)> = Vec::new();
    for kind in Kind::all() {
        let rows =
            move |seed| Recipe { kind, rows: 10 * DAY, interval_us: MINUTE_US, seed }.generate().values;
        kinds.push((kind.name().to_owned(), Box::new(rows)));
    }
    kinds.push(("ar 0.97".to_owned(), Box::new(|seed| autoregressive(seed, 0.97))));
    kinds.push(("ar 0.997".to_owned(), Box::new(|seed| autoregressive(seed, 0.997))));
    kinds.push(("1/f".to_owned(), Box::new(one_over_f)));
    kinds.push(("t3 noise".to_owned(), Box::new(|seed| each(seed, |random| random.student_t(3)))));
    kinds.push(("log-normal".to_owned(), Box::new(|seed| each(seed, |random| libm::exp(random.normal())))));
    kinds.push((
        "rounded".to_owned(),
        Box::new(|seed| each(seed, |random| libm::round(0.6 * random.normal()))),
    ));
    kinds.push((
        "rare ones".to_owned(),
        Box::new(|seed| each(seed, |random| f64::from(u8::from(random.uniform() < 0.01)))),
    ));
    kinds.push(("two states".to_owned(), Box::new(two_states)));
    let mut sums = [0.0; 4];
    for (name, make) in &kinds {
        let mut counts = [0usize; 4];
        let mut trends = 0;
        for seed in 0..SEEDS {
            let said = said(ones(make(seed)), MINUTE_US, true);
            for row in begins(&said) {
                let part = [120, DAY, 4 * DAY].iter().filter(|end| row >= **end).count();
                counts[part] += 1;
                trends += usize::from(said[row].1 == Some(Class::Trend));
            }
        }
        let rates = [1.0, 1320.0 / 1440.0, 3.0, 6.0];
        let rates: Vec<f64> =
            counts.iter().zip(rates).map(|(count, days)| *count as f64 / days / SEEDS as f64).collect();
        sums.iter_mut().zip(&rates).for_each(|(sum, rate)| *sum += rate / kinds.len() as f64);
        println!(
            "  {name:24} {:6.2} {:6.2} {:6.2} {:6.2}   TREND {:.2}",
            rates[0],
            rates[1],
            rates[2],
            rates[3],
            trends as f64 / 10.0 / SEEDS as f64
        );
    }
    println!("  mean                     {:6.2} {:6.2} {:6.2} {:6.2}", sums[0], sums[1], sums[2], sums[3]);
}

fn each(seed: u64, draw: impl Fn(&mut Random) -> f64) -> Vec<f64> {
    let mut random = Random::new(seed);
    (0..10 * DAY).map(|_| 10.0 + draw(&mut random)).collect()
}

fn autoregressive(seed: u64, carried: f64) -> Vec<f64> {
    let mut random = Random::new(seed);
    let mut now = 0.0;
    let mut next = || {
        now = carried * now + random.normal();
        now
    };
    (0..10 * DAY).map(|_| next()).collect()
}

/// Sums of autoregressive processes of all time scales (Voss and Clarke's recipe for 1/f noise).
fn one_over_f(seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed);
    let mut parts = [0.0f64; 12];
    let mut next = || {
        for (number, part) in parts.iter_mut().enumerate() {
            let forgotten = 1.0 / f64::from(1 << number);
            *part += forgotten.min(0.9) * -*part + (2.0 * forgotten.min(0.9)).sqrt() * random.normal();
        }
        parts.iter().sum::<f64>()
    };
    (0..10 * DAY).map(|_| next()).collect()
}

/// Two levels that take turns, some twenty minutes each.
fn two_states(seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed);
    let mut high = false;
    let mut next = || {
        high ^= random.uniform() < 0.05;
        f64::from(u8::from(high)) * 10.0 + random.normal()
    };
    (0..10 * DAY).map(|_| next()).collect()
}

/// Labelled series: CSV files with the columns `value,label`, as of minutes.
fn real(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut files: Vec<_> =
        fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect::<Result<_, std::io::Error>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "csv"));
    files.sort();
    let (mut sum, mut found, mut incidents, mut wrong, mut normal) = (0.0, 0, 0, 0, 0);
    for file in &files {
        let text = fs::read_to_string(file)?;
        let (mut values, mut labels) = (Vec::new(), Vec::new());
        for line in text.lines().skip(1) {
            let (value, label) = line.split_once(',').ok_or("a line without a comma")?;
            values.push(value.parse::<f64>()?);
            labels.push(label.parse::<f64>()? > 0.5);
        }
        let said = said(ones(values.clone()), MINUTE_US, false);
        let scores: Vec<f64> = said.iter().map(|said| if said.0.is_nan() { 0.0 } else { said.0 }).collect();
        let alarms: Vec<f64> = said.iter().map(|said| f64::from(u8::from(said.1.is_some()))).collect();
        let report = alarms_at(&[Labelled::new(&alarms, &labels)?], 1.0, RULE);
        let vus = vus_pr(&scores, &labels, find_length_rank(&values));
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let days = report.normal_rows as f64 / DAY as f64;
        let mut starts: Vec<(usize, char)> = Vec::new();
        for row in begins(&said) {
            let letter = said[row].1.map_or("", Class::name).chars().next().unwrap_or(' ');
            starts.push((row, if labels[row] { letter } else { letter.to_ascii_lowercase() }));
        }
        let list: Vec<String> =
            starts.iter().take(30).map(|(row, letter)| format!("{row}{letter}")).collect();
        println!(
            "  {:32} {:6} rows  VUS-PR {vus:.3}  found {}/{}  false {:3} ({:.2} a day)  {}",
            name.chars().take(32).collect::<String>(),
            values.len(),
            report.found(),
            report.delays_rows.len(),
            report.false_alarms,
            report.false_alarms as f64 / days,
            list.join(" ")
        );
        sum += vus;
        found += report.found();
        incidents += report.delays_rows.len();
        wrong += report.false_alarms;
        normal += report.normal_rows;
    }
    println!(
        "  of {}: VUS-PR {:.3}, found {found} of {incidents}, false {wrong} ({:.2} a day)",
        files.len(),
        sum / files.len() as f64,
        wrong as f64 / (normal as f64 / DAY as f64)
    );
    Ok(())
}

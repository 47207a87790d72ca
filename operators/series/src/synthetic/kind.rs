//! What series look like.

use std::f64::consts::TAU;

use super::{DAY_US, Random, Recipe, START_US, Series};

/// How values scatter around the season's pattern. All but [`Noise::Counts`] have the same standard deviation over the whole series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Noise {
    /// Normal.
    Gaussian,
    /// Heavy tails: Student's t with 4 degrees of freedom.
    HeavyTails,
    /// Normal, in proportion to the pattern.
    Heteroscedastic,
    /// An AR(1) process with coefficient 0.7.
    Autoregressive,
    /// Values are Poisson counts with the pattern as their mean.
    Counts,
}

impl Noise {
    /// All of them.
    pub const ALL: [Noise; 5] =
        [Noise::Gaussian, Noise::HeavyTails, Noise::Heteroscedastic, Noise::Autoregressive, Noise::Counts];
}

/// What a series looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Repeats by the day: two harmonics above zero.
    Season {
        /// How values scatter.
        noise: Noise,
        /// Whether weekends are lower.
        weekly: bool,
    },
    /// A sum of normal steps.
    RandomWalk,
    /// A straight line with normal noise.
    Trend,
    /// A level with normal noise.
    Constant,
    /// Mostly 0, sometimes a few: demand of something rare.
    Intermittent,
    /// A level with normal noise that jumps now and then, as sizes of deployments do.
    Steps,
    /// A sum of Poisson counts of a daily season, as counters of requests are.
    Counter,
}

impl Kind {
    /// All of them, seasons with each noise.
    pub fn all() -> Vec<Kind> {
        let seasons = Noise::ALL.map(|noise| Kind::Season { noise, weekly: noise == Noise::Gaussian });
        let others =
            [Kind::RandomWalk, Kind::Trend, Kind::Constant, Kind::Intermittent, Kind::Steps, Kind::Counter];
        seasons.into_iter().chain(others).collect()
    }

    /// A word for tables and file names.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Season { noise: Noise::Gaussian, weekly: false } => "season_gaussian",
            Kind::Season { noise: Noise::HeavyTails, weekly: false } => "season_heavy_tails",
            Kind::Season { noise: Noise::Heteroscedastic, weekly: false } => "season_heteroscedastic",
            Kind::Season { noise: Noise::Autoregressive, weekly: false } => "season_autoregressive",
            Kind::Season { noise: Noise::Counts, weekly: false } => "season_counts",
            Kind::Season { noise: Noise::Gaussian, weekly: true } => "week_gaussian",
            Kind::Season { noise: Noise::HeavyTails, weekly: true } => "week_heavy_tails",
            Kind::Season { noise: Noise::Heteroscedastic, weekly: true } => "week_heteroscedastic",
            Kind::Season { noise: Noise::Autoregressive, weekly: true } => "week_autoregressive",
            Kind::Season { noise: Noise::Counts, weekly: true } => "week_counts",
            Kind::RandomWalk => "random_walk",
            Kind::Trend => "trend",
            Kind::Constant => "constant",
            Kind::Intermittent => "intermittent",
            Kind::Steps => "steps",
            Kind::Counter => "counter",
        }
    }
}

/// The daily pattern of one key: mean 1, lowest above 0.
struct Day {
    first: (f64, f64),
    second: (f64, f64),
    weekend: f64,
}

impl Day {
    fn draw(random: &mut Random, weekly: bool) -> Self {
        Day {
            first: (random.between(0.25, 0.55), random.uniform()),
            second: (random.between(0.05, 0.25), random.uniform()),
            weekend: if weekly { random.between(0.5, 0.8) } else { 1.0 },
        }
    }

    fn at(&self, time_us: i64) -> f64 {
        let day = (time_us - START_US).div_euclid(DAY_US);
        let part = (time_us - START_US).rem_euclid(DAY_US) as f64 / DAY_US as f64;
        let wave = |(size, phase): (f64, f64), times: f64| size * libm::sin(TAU * (times * part + phase));
        let shape = 1.0 + wave(self.first, 1.0) + wave(self.second, 2.0);
        if day.rem_euclid(7) < 5 { shape } else { shape * self.weekend }
    }
}

/// The series of a recipe.
pub(super) fn generate(recipe: &Recipe) -> Series {
    let mut random = Random::new(recipe.seed);
    let level = libm::exp(random.between(libm::log(20.0), libm::log(200.0)));
    let sigma = level * random.between(0.03, 0.1);
    let mut series = Series {
        start_us: START_US,
        interval_us: recipe.interval_us,
        values: Vec::with_capacity(recipe.rows),
        pattern: Vec::with_capacity(recipe.rows),
        level,
        sigma,
        counts: false,
        incidents: Vec::new(),
    };
    match recipe.kind {
        Kind::Season { noise, weekly } => season(&mut series, recipe.rows, noise, weekly, &mut random),
        Kind::RandomWalk => walk(&mut series, recipe.rows, &mut random),
        Kind::Trend => {
            let rise = random.between(-20.0, 20.0) * sigma / recipe.rows.max(1) as f64;
            around(&mut series, recipe.rows, &mut random, |row, _| level + rise * row as f64);
        }
        Kind::Constant => around(&mut series, recipe.rows, &mut random, |_, _| level),
        Kind::Intermittent => intermittent(&mut series, recipe.rows, &mut random),
        Kind::Steps => {
            let (mut now, jump_every) = (level, 500.0);
            around(&mut series, recipe.rows, &mut random, |_, random| {
                if random.uniform() * jump_every < 1.0 {
                    now = level * random.between(0.5, 1.5);
                }
                now
            });
        }
        Kind::Counter => counter(&mut series, recipe.rows, &mut random),
    }
    series
}

fn season(series: &mut Series, rows: usize, noise: Noise, weekly: bool, random: &mut Random) {
    let day = Day::draw(random, weekly);
    let (level, mut before) = (series.level, random.normal());
    let carried: f64 = 0.7;
    let patterns: Vec<f64> = (0..rows).map(|row| level * day.at(series.time_us(row))).collect();
    let mean = patterns.iter().sum::<f64>() / rows.max(1) as f64;
    let square = patterns.iter().map(|x| x * x).sum::<f64>() / rows.max(1) as f64;
    if noise == Noise::Counts {
        series.counts = true;
        series.sigma = mean.sqrt();
    }
    let sigma = series.sigma;
    for pattern in patterns {
        let value = match noise {
            Noise::Gaussian => pattern + sigma * random.normal(),
            Noise::HeavyTails => pattern + sigma * random.student_t(4) / 2f64.sqrt(),
            Noise::Heteroscedastic => pattern + sigma * random.normal() * pattern / square.sqrt(),
            Noise::Autoregressive => {
                before = carried * before + (1.0 - carried * carried).sqrt() * random.normal();
                pattern + sigma * before
            }
            Noise::Counts => random.poisson(pattern),
        };
        series.pattern.push(pattern);
        series.values.push(value);
    }
}

fn around(
    series: &mut Series,
    rows: usize,
    random: &mut Random,
    mut pattern: impl FnMut(usize, &mut Random) -> f64,
) {
    for row in 0..rows {
        let mean = pattern(row, random);
        series.pattern.push(mean);
        series.values.push(mean + series.sigma * random.normal());
    }
}

fn walk(series: &mut Series, rows: usize, random: &mut Random) {
    let mut now = series.level;
    for _ in 0..rows {
        now += series.sigma * random.normal();
        series.values.push(now);
    }
    series.pattern.clone_from(&series.values);
}

fn intermittent(series: &mut Series, rows: usize, random: &mut Random) {
    let (often, size) = (random.between(0.03, 0.15), random.between(1.0, 6.0));
    series.level = often * (1.0 + size);
    // Variance of a compound: E[p] · E[x²] − (E[p] · E[x])², where x = 1 + Poisson(size).
    series.sigma = (often * (size + (1.0 + size) * (1.0 + size)) - series.level * series.level).sqrt();
    series.counts = true;
    for _ in 0..rows {
        let here = random.uniform() < often;
        series.values.push(if here { 1.0 + random.poisson(size) } else { 0.0 });
    }
    series.pattern = vec![series.level; rows];
}

fn counter(series: &mut Series, rows: usize, random: &mut Random) {
    let day = Day::draw(random, false);
    series.counts = true;
    series.sigma = series.level.sqrt();
    let (mut pattern, mut value) = (0.0, 0.0);
    for row in 0..rows {
        let mean = series.level * day.at(series.time_us(row));
        pattern += mean;
        value += random.poisson(mean);
        series.pattern.push(pattern);
        series.values.push(value);
    }
}

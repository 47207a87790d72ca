//! A key's model, whichever the method: `auto` has one for each input and one for how they go together, other methods one for all inputs.

use super::auto::{AutoInput, Reading};
use super::calibration::{Rarities, WAYS};
use super::fields::Fields;
use super::joint::{Distance, Joint};
use super::methods::ar::Ar;
use super::methods::cusum::Cusum;
use super::methods::ewma::Ewma;
use super::methods::forest::Forest;
use super::methods::kmeans::Kmeans;
use super::methods::network::{Autoencoder, Patch, Tcn};
use super::methods::one_class::OneClass;
use super::methods::pca::Pca;
use super::methods::quartiles::{Iqr, Mad};
use super::methods::seasonal::Seasonal;
use super::methods::{Raw, Row, Scorer, Settings};
use super::recovery::Recovery;
use super::season::Phase;
use super::siblings::Siblings;
use super::single::{Single, WIDTH};
use super::{Class, Method};
use crate::bytes::{Reader, StateError, Writer};

/// Residuals below so many standard deviations are each normal.
const OUTLIER_Z: f64 = 3.5;

/// When a row came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// Rows missing before it.
    pub missed: u32,
    /// Its local time, microseconds.
    pub local_us: i64,
    /// Where in the season it lies.
    pub phase: Phase,
    /// How many rows make a season; 0: not known.
    pub rows_a_season: f64,
    /// Whether there is only a short past to judge it by.
    pub early: bool,
}

/// What a key's model makes of a row. Made once and filled again for each row.
#[derive(Debug, Clone)]
pub(crate) struct Judgement {
    /// How strange it is, 0 and up.
    pub strangeness: f64,
    /// How rare it is.
    pub rarities: Rarities,
    /// What kind of anomaly it would be by each way to raise an alarm.
    pub classes: [Class; WAYS],
    /// The largest residual, in standard deviations of what is ordinary.
    pub size: f64,
    /// What each input was expected to be; NaN: nothing is.
    pub expected: Vec<f64>,
    /// How much each input adds to the strangeness.
    pub parts: Vec<f64>,
    readings: Vec<Reading>,
    distance: Distance,
    raw: Raw,
    place: f64,
}

impl Judgement {
    /// Room for rows of so many inputs.
    pub fn new(inputs: usize) -> Self {
        Judgement {
            strangeness: 0.0,
            rarities: Rarities::default(),
            classes: [Class::Spike; WAYS],
            size: 0.0,
            expected: vec![f64::NAN; inputs],
            parts: vec![0.0; inputs],
            readings: vec![Reading::default(); inputs],
            distance: Distance::default(),
            raw: Raw::default(),
            place: 0.0,
        }
    }
}

/// The model of `auto`: a box an input, for each is large.
#[derive(Debug, Clone)]
pub(crate) struct Auto {
    inputs: Vec<AutoInput>,
    /// Where there are several.
    joint: Option<Joint>,
    recovery: Recovery,
}

/// Writes out what is the same for all methods but `auto`.
macro_rules! methods {
    ($($name:ident),*) => {
        /// What all keys share.
        #[derive(Debug)]
        #[allow(clippy::large_enum_variant, reason = "a detector has one of it, so its size does not matter")]
        pub(crate) enum Judge {
            /// The number of inputs.
            Auto(usize),
            $(#[doc = "Of this method."] $name(<$name as Scorer>::Shared),)*
        }

        /// What is known of a key.
        #[derive(Debug, Clone)]
        pub(crate) enum Known {
            /// By `auto`.
            Auto(Auto),
            $(#[doc = "By this method."] $name(Single<$name>),)*
        }

        impl Judge {
            /// For a method with these settings.
            pub fn new(method: Method, settings: Settings) -> Self {
                match method {
                    Method::Auto => Judge::Auto(settings.inputs),
                    $(Method::$name => Judge::$name($name::shared(&settings)),)*
                }
            }

            /// What is known of a key before its first row.
            pub fn begin(&self) -> Known {
                match self {
                    Judge::Auto(inputs) => Known::Auto(Auto::new(*inputs)),
                    $(Judge::$name(shared) => Known::$name(Single::new(shared)),)*
                }
            }

            /// What is known of a key of which nothing holds any more but its season.
            pub fn begin_anew(&self, known: &Known) -> Known {
                match known {
                    Known::Auto(auto) => {
                        let mut auto = auto.clone();
                        auto.begin_anew();
                        Known::Auto(auto)
                    }
                    _ => self.begin(),
                }
            }

            /// Judges a row, of which a network may have `said` something. A state of another method says nothing.
            pub fn judge(
                &self,
                known: &mut Known,
                values: &[f64],
                said: &[f64],
                timing: Timing,
                judgement: &mut Judgement,
            ) {
                let row = Row { values, said, missed: timing.missed, local_us: timing.local_us };
                match (self, known) {
                    (Judge::Auto(_), Known::Auto(auto)) => auto.judge(values, timing, judgement),
                    $((Judge::$name(shared), Known::$name(single)) => {
                        let (rarity, place) = single.score(shared, row, &mut judgement.raw);
                        judgement.take_raw(values, rarity, place);
                    })*
                    _ => (),
                }
            }

            /// Learns from the row that was just judged, with `weight`; its rarity too where it `teaches`. True where rarities mean
            /// something else from now on.
            pub fn learn(
                &self,
                known: &mut Known,
                values: &[f64],
                timing: Timing,
                judgement: &Judgement,
                weight: f64,
                teaches: bool,
            ) -> bool {
                let row = Row { values, said: &[], missed: timing.missed, local_us: timing.local_us };
                match (self, known) {
                    (Judge::Auto(_), Known::Auto(auto)) => auto.learn(values, timing, judgement, weight, teaches),
                    $((Judge::$name(shared), Known::$name(single)) => {
                        single.learn(shared, row, judgement.place, weight, teaches);
                        false
                    })*
                    _ => false,
                }
            }

            /// The state that [`Known::encode`] wrote.
            pub fn decode(&self, reader: &mut Reader<'_>) -> Result<Known, StateError> {
                match self {
                    Judge::Auto(inputs) => {
                        let mut auto = Auto::new(*inputs);
                        auto.fields(&mut Fields::Read(reader))?;
                        Ok(Known::Auto(auto))
                    }
                    $(Judge::$name(shared) => Ok(Known::$name(Single::decode(shared, reader)?)),)*
                }
            }
        }

        impl Known {
            /// Whether it can judge.
            pub fn ready(&self) -> bool {
                match self {
                    Known::Auto(auto) => auto.inputs.iter().any(AutoInput::ready),
                    $(Known::$name(single) => single.ready(),)*
                }
            }

            /// Appends the state's bytes.
            pub fn encode(&self, writer: &mut Writer<'_>) {
                match self {
                    Known::Auto(auto) => {
                        let written = auto.clone().fields(&mut Fields::Write(writer));
                        debug_assert_eq!(written, Ok(()), "writing to memory can't fail");
                    }
                    $(Known::$name(single) => single.encode(writer),)*
                }
            }
        }
    };
}

methods!(Ewma, Mad, Iqr, Cusum, Ar, Seasonal, Kmeans, Pca, Forest, OneClass, Autoencoder, Tcn, Patch);

impl Known {
    /// Half the width of what is ordinary around what is expected of an input, where a row in e^`rarity` lies outside.
    pub fn width(&self, input: usize, judgement: &Judgement, rarity: f64) -> f64 {
        match self {
            Known::Auto(auto) => {
                let reading = &judgement.readings[input];
                let several = if reading.alone { libm::log(auto.inputs.len() as f64) } else { 0.0 };
                auto.inputs[input].width(reading, rarity + several)
            }
            _ => WIDTH * judgement.raw.scale[input],
        }
    }

    /// Takes in that the row which was just judged belongs to an event: true where the event is over with it.
    pub fn recovers(&mut self, values: &[f64], judgement: &Judgement) -> bool {
        match self {
            Known::Auto(auto) => auto.recovers(values, judgement),
            _ => false,
        }
    }

    /// Begins among siblings, where the method goes by them.
    pub fn among(&mut self, siblings: &Siblings) {
        if let Known::Auto(auto) = self {
            for (number, input) in auto.inputs.iter_mut().enumerate() {
                input.among(siblings.scatter(number));
            }
        }
    }

    /// Takes what the latest rows show for ordinary.
    pub fn settle(&mut self) {
        if let Known::Auto(auto) = self {
            auto.inputs.iter_mut().for_each(AutoInput::settle);
            auto.recovery.clear();
        }
    }
}

impl Judgement {
    /// Takes over what a method other than `auto` says.
    fn take_raw(&mut self, values: &[f64], rarity: f64, place: f64) {
        self.strangeness = rarity * rarity;
        self.rarities = Rarities::default();
        self.rarities.ways[0] = Some(rarity);
        self.place = place;
        self.expected.copy_from_slice(&self.raw.expected);
        self.parts.copy_from_slice(&self.raw.parts);
        self.size = 0.0;
        for (input, value) in values.iter().enumerate() {
            let size = (value - self.raw.expected[input]).abs() / self.raw.scale[input];
            self.size = self.size.max(size);
        }
    }
}

/// The larger of two rarities, where any is told.
fn larger(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    }
}

impl Auto {
    fn new(inputs: usize) -> Self {
        let joint = (inputs > 1).then(|| Joint::new(inputs));
        Auto {
            inputs: (0..inputs).map(|_| AutoInput::new()).collect(),
            joint,
            recovery: Recovery::new(inputs),
        }
    }

    fn begin_anew(&mut self) {
        let inputs = self.inputs.len();
        self.inputs.iter_mut().for_each(AutoInput::forget);
        self.joint = (inputs > 1).then(|| Joint::new(inputs));
        self.recovery = Recovery::new(inputs);
    }

    fn judge(&mut self, values: &[f64], timing: Timing, judgement: &mut Judgement) {
        judgement.strangeness = 0.0;
        judgement.rarities = Rarities::default();
        judgement.classes = [Class::Spike; WAYS];
        judgement.size = 0.0;
        let rarities = &mut judgement.rarities;
        for (input, (model, value)) in self.inputs.iter_mut().zip(values).enumerate() {
            if timing.missed > 0 {
                model.bridge(timing.missed);
            }
            let reading = &mut judgement.readings[input];
            judgement.expected[input] = f64::NAN;
            judgement.parts[input] = 0.0;
            reading.z = 0.0;
            if value.is_nan() {
                continue;
            }
            model.judge(*value, timing.phase, timing.early, reading);
            rarities.early = larger(rarities.early, reading.early);
            judgement.expected[input] = reading.expected;
            judgement.parts[input] = reading.strangeness;
            judgement.strangeness += reading.strangeness;
            judgement.size = judgement.size.max(reading.size);
            for (alarm, rarity) in reading.alarms.iter().enumerate() {
                if *rarity > rarities.ways[alarm] {
                    judgement.classes[alarm] = reading.class(alarm);
                }
                rarities.ways[alarm] = larger(rarities.ways[alarm], *rarity);
            }
        }
        if let Some(joint) = &mut self.joint {
            let distance = &mut judgement.distance;
            joint.judge(judgement.readings.iter().map(|reading| reading.z), distance);
            let square = distance.rarity * distance.rarity;
            judgement.strangeness += square;
            let sum: f64 = distance.parts.iter().sum();
            if sum > 0.0 {
                let shares = judgement.parts.iter_mut().zip(&distance.parts);
                shares.for_each(|(part, of)| *part += square * of / sum);
            }
            if rarities.ways[0].is_some_and(|rarity| distance.rarity > rarity) {
                rarities.ways[0] = Some(distance.rarity);
                judgement.classes[0] = if judgement.size < OUTLIER_Z { Class::Outlier } else { Class::Spike };
            }
        }
        // The rarest of several inputs is no rarer for there being several (Bonferroni).
        let several = libm::log(self.inputs.len() as f64);
        let alone = |rarity: f64| (rarity - several).max(0.0);
        rarities.early = rarities.early.map(alone);
        rarities.ways[1..].iter_mut().for_each(|rarity| *rarity = rarity.map(alone));
    }

    fn learn(
        &mut self,
        values: &[f64],
        timing: Timing,
        judgement: &Judgement,
        weight: f64,
        teaches: bool,
    ) -> bool {
        let mut changes = false;
        for (input, (model, value)) in self.inputs.iter_mut().zip(values).enumerate() {
            if value.is_nan() {
                model.bridge(1);
            } else {
                let reading = &judgement.readings[input];
                changes |= model.learn(reading, timing.phase, timing.rows_a_season, weight, teaches);
            }
        }
        if let Some(joint) = &mut self.joint {
            joint.learn(&judgement.distance, weight, teaches);
        }
        if weight > 0.0 {
            self.recovery.clear();
        }
        changes
    }

    fn recovers(&mut self, values: &[f64], judgement: &Judgement) -> bool {
        let offs = values.iter().zip(&judgement.readings);
        let over = self
            .recovery
            .is_over(offs.map(|(value, reading)| if value.is_nan() { *value } else { reading.off }));
        if over {
            self.inputs.iter_mut().for_each(AutoInput::recover);
        }
        over
    }

    fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        self.inputs.iter_mut().try_for_each(|input| input.fields(fields))?;
        self.joint.iter_mut().try_for_each(|joint| joint.fields(fields))?;
        self.recovery.fields(fields)
    }
}

//! What holds for any curve.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::synthetic::{CurveRecipe, CurveShape};

fn curve() -> impl Strategy<Value = Vec<f64>> {
    (0..CurveShape::ALL.len(), 0.0..0.1, any::<u64>(), 5usize..60).prop_map(|(shape, noise, seed, steps)| {
        CurveRecipe { shape: CurveShape::ALL[shape], steps, noise, seed }.generate().values
    })
}

fn anything() -> impl Strategy<Value = f64> {
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, f64::MAX, f64::MIN, 5e-324, 1.0];
    prop_oneof![any::<f64>(), proptest::sample::select(odd.to_vec())]
}

fn with_target(target: f64) -> ConvergerConfig {
    ConvergerConfig { target: Some(target), ..falling(Some(100.0)) }
}

fn ends(interval: &Interval) -> [f64; 5] {
    [interval.lower_95, interval.lower_80, interval.expected, interval.upper_80, interval.upper_95]
}

fn is_near(a: f64, b: f64, tolerance: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_row_makes_it_panic(rows in vec((anything(), anything(), any::<i64>()), 0..40), target in anything()) {
        let target = Some(target).filter(|target| target.is_finite());
        for falling in [true, false] {
            let mut converger = converger(ConvergerConfig { target, falling, end: None, stall_after: 1 });
            let mut state = converger.begin();
            let mut said = Convergence::default();
            for (step, value, time_us) in &rows {
                let row = Observation { time_us: *time_us, local_us: 0, values: &[*step, *value] };
                converger.observe(&mut state, row, &mut said);
                let p = said.stall_p_value;
                prop_assert!(p.is_nan() || (0.0..=1.0).contains(&p));
                prop_assert!(said.p_target.is_nan() || (0.0..=1.0).contains(&said.p_target));
            }
            let nothing = Observation { time_us: 0, local_us: 0, values: &[] };
            converger.observe(&mut state, nothing, &mut said);
            prop_assert_eq!(said.status, Status::Skipped);
        }
    }

    #[test]
    fn a_state_goes_on_from_its_bytes_to_the_bit(curve in curve(), copies in 1usize..5, cut in 0usize..300) {
        let values: Vec<f64> = curve.iter().cycle().take(curve.len() * copies).copied().collect();
        let mut converger = converger(with_target(0.3));
        let (mut state, mut other) = (converger.begin(), converger.begin());
        for (step, value) in values.iter().enumerate() {
            if step == cut % values.len() {
                let mut bytes = Vec::new();
                converger.encode(&state, &mut bytes);
                other = converger.decode(&bytes).unwrap();
                let mut again = Vec::new();
                converger.encode(&other, &mut again);
                prop_assert_eq!(&bytes, &again);
                prop_assert!(converger.decode(&bytes[..bytes.len() - 1]).is_err());
            }
            let time_us = step as i64 * 7_000_000;
            let row = Observation { time_us, local_us: 0, values: &[step as f64, *value] };
            let (mut said, mut said_by_other) = (Convergence::default(), Convergence::default());
            converger.observe(&mut state, row, &mut said);
            if step >= cut % values.len() {
                converger.observe(&mut other, row, &mut said_by_other);
                prop_assert_eq!(format!("{said:?}"), format!("{said_by_other:?}"));
            }
        }
        let (mut one, mut two) = (Vec::new(), Vec::new());
        converger.encode(&state, &mut one);
        converger.encode(&other, &mut two);
        prop_assert_eq!(one, two);
    }

    #[test]
    fn the_unit_of_values_does_not_matter(curve in curve(), scale in 1e-3..1e3f64, shift in -10.0..10.0f64) {
        let moved: Vec<f64> = curve.iter().map(|value| value * scale + shift).collect();
        let plain = watch(with_target(0.3), &curve);
        let other = watch(with_target(0.3 * scale + shift), &moved);
        let tolerance = 1e-5 * (scale + shift.abs());
        for (plain, other) in plain.iter().zip(&other) {
            prop_assert_eq!(plain.status, other.status);
            for (a, b) in ends(&plain.final_value).into_iter().zip(ends(&other.final_value)) {
                prop_assert!(is_near(a * scale + shift, b, tolerance * (1.0 + a.abs())), "{} {}", a, b);
            }
            prop_assert!(is_near(plain.p_target, other.p_target, 1e-4));
        }
    }

    #[test]
    fn rising_and_falling_curves_are_mirror_images(curve in curve()) {
        let mirrored: Vec<f64> = curve.iter().map(|value| -value).collect();
        let down = watch(with_target(0.3), &curve);
        let up = watch(ConvergerConfig { falling: false, ..with_target(-0.3) }, &mirrored);
        for (down, up) in down.iter().zip(&up) {
            let mut turned = ends(&up.final_value).map(|x| -x);
            turned.reverse();
            for (a, b) in ends(&down.final_value).into_iter().zip(turned) {
                prop_assert!(is_near(a, b, 1e-12));
            }
            prop_assert_eq!(ends(&down.steps_left).map(f64::to_bits), ends(&up.steps_left).map(f64::to_bits));
            prop_assert!(is_near(down.p_target, up.p_target, 0.0) && is_near(down.stall_p_value, up.stall_p_value, 0.0));
            prop_assert_eq!((down.status, down.is_stalled), (up.status, up.is_stalled));
        }
    }

    #[test]
    fn intervals_are_nested(curve in curve(), target in -1.0..1.5) {
        for said in watch(with_target(target), &curve) {
            for interval in [said.final_value, said.steps_left, said.hours_left] {
                let ends = ends(&interval);
                prop_assert!(ends.iter().all(|x| x.is_nan()) || ends.windows(2).all(|pair| pair[0] <= pair[1]), "{:?}", ends);
            }
        }
    }
}

#[test]
fn a_row_that_goes_back_is_skipped_and_changes_nothing() {
    let mut converger = converger(falling(None));
    let mut state = converger.begin();
    let mut say = |step: f64, value: f64| {
        let mut said = Convergence::default();
        let row = Observation { time_us: 0, local_us: 0, values: &[step, value] };
        converger.observe(&mut state, row, &mut said);
        said
    };
    for step in 0..10 {
        say(f64::from(step), 1.0 / f64::from(step + 1));
    }
    let before = say(10.0, 0.09);
    for (step, value) in [(3.0, 5.0), (10.0, 5.0), (11.0, f64::NAN), (f64::NAN, 0.1)] {
        let said = say(step, value);
        assert_eq!(said.status, Status::Skipped);
        assert_eq!((said.final_value, said.n_seen), (before.final_value, 11));
    }
    assert_eq!(say(11.0, 0.085).status, Status::Ok);
}

#[test]
fn clean_curves_are_foretold_with_their_target() {
    // 1 / (1 + t) from step 0 on, a row a minute: 0.02 is reached at step 49.
    let values: Vec<f64> = (0..25).map(|step| 1.0 / f64::from(1 + step)).collect();
    let said = watch(ConvergerConfig { target: Some(0.02), ..falling(Some(99.0)) }, &values);
    let said = &said[24];
    assert!((said.final_value.expected - 0.01).abs() < 0.006, "{:?}", said.final_value);
    assert!((10.0..60.0).contains(&said.steps_left.expected), "{:?}", said.steps_left);
    assert!((said.hours_left.expected * 60.0 - said.steps_left.expected).abs() < 1e-6);
    assert!(said.p_target > 0.5);
    assert_eq!(said.basis, "curves");
    let reached = watch(ConvergerConfig { target: Some(0.05), ..falling(Some(99.0)) }, &values);
    assert_eq!((reached[18].status, reached[19].status), (Status::Ok, Status::Reached));
    assert_eq!((reached[19].steps_left.upper_95, reached[19].p_target), (0.0, 1.0));
}

#[test]
fn a_curve_that_goes_away_from_its_target_does_not_get_there() {
    let values: Vec<f64> = (0..40).map(|step| 1.0 + 0.01 * f64::from(step)).collect();
    let said = watch(ConvergerConfig { target: Some(0.2), ..falling(Some(60.0)) }, &values);
    assert!(said[39].p_target < 0.01, "{}", said[39].p_target);
    assert_eq!(said[39].steps_left.expected, f64::INFINITY);
}

#[test]
fn a_start_that_jumped_comes_back() {
    // It stays, without a trend, at twice its first value.
    let values: Vec<f64> =
        (0..10).map(|step| if step == 0 { 1.0 } else { 2.0 + 0.01 * f64::from(step % 3) }).collect();
    let end = |end: f64| watch(falling(Some(end)), &values)[9].final_value.expected;
    assert!(end(99.0) < 1.5 && end(99.0) > 1.0, "{}", end(99.0));
    assert!(end(99.0) < end(19.0) && end(19.0) < end(11.0) && end(11.0) < 2.1);
    // For a rising curve, that is progress and stays.
    let said = watch(ConvergerConfig { falling: false, ..falling(Some(99.0)) }, &values);
    assert!(said[9].final_value.expected > 1.9, "{}", said[9].final_value.expected);
}

#[test]
fn long_curves_are_foretold_as_short_ones_are() {
    // The same power of time, in 20 rows and in 2000: what is kept of a long curve shows its bend as well.
    let error = |rows: usize| {
        let last = 5 * rows;
        let at = |step: usize| libm::pow(1.0 + 10.0 * step as f64 / rows as f64, -0.5);
        let values: Vec<f64> = (0..rows).map(at).collect();
        let said = watch(falling(Some(last as f64)), &values);
        (said[rows - 1].final_value.expected - at(last)).abs() / (values[rows - 1] - at(last))
    };
    assert!(error(20) < 0.3, "{}", error(20));
    assert!(error(2000) < 0.3, "{}", error(2000));
}

#[test]
fn an_ended_curve_ends_at_its_last_value() {
    let said = watch(falling(Some(4.0)), &[5.0, 4.0, 3.0, 2.5, 2.25]);
    assert_eq!(said[4].final_value, Interval::sure(2.25));
    assert_eq!(said[4].basis, "last");
}

#[test]
fn configurations_that_mean_nothing_are_refused() {
    let refused = |config: ConvergerConfig| Converger::new(config).unwrap_err().field;
    assert_eq!(refused(ConvergerConfig { target: Some(f64::NAN), ..falling(None) }), "target");
    assert_eq!(refused(falling(Some(f64::INFINITY))), "end");
    assert_eq!(refused(ConvergerConfig { stall_after: 0, ..falling(None) }), "stall_after");
}

#[test]
fn bytes_of_the_other_direction_are_refused() {
    let (down, up) =
        (converger(falling(None)), converger(ConvergerConfig { falling: false, ..falling(None) }));
    let mut bytes = Vec::new();
    down.encode(&down.begin(), &mut bytes);
    assert!(matches!(up.decode(&bytes), Err(StateError::Other { .. })));
    assert!(matches!(down.decode(&bytes[..5]), Err(StateError::Short { .. })));
}

//! Real requests to models, recorded by others: windows of them are forecast, and intervals cover what they promise.
//!
//! The data lie beside the repository, in `shared/data` (or where `THALWEG_DATA` says), and are no part of it. Where they are not, these
//! tests say so and test nothing.

use std::path::{Path, PathBuf};

use super::{Score, config, forecasts};

/// A request: seconds, tokens in, tokens out.
type Request = (f64, f64, f64);

fn data(file: &str) -> Option<String> {
    let named = std::env::var_os("THALWEG_DATA").map(PathBuf::from);
    let beside = || {
        let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        folders.map(|folder| folder.join("shared/data")).find(|folder| folder.is_dir())
    };
    let text = named.or_else(beside).and_then(|folder| std::fs::read_to_string(folder.join(file)).ok());
    if text.is_none() {
        eprintln!("skipped: {file} is not here; set THALWEG_DATA to the folder of the data");
    }
    text
}

fn azure() -> Option<Vec<Request>> {
    let request = |line: &str| {
        let (time, tokens) = line.split_once(',')?;
        let (tokens_in, tokens_out) = tokens.trim().split_once(',')?;
        let mut clock = time.split_once(' ')?.1.split(':').map(|part| part.parse::<f64>().ok());
        let seconds = clock.next()?? * 3600.0 + clock.next()?? * 60.0 + clock.next()??;
        Some((seconds, tokens_in.parse().ok()?, tokens_out.parse().ok()?))
    };
    Some(data("llm/azure_llm_conv_2023.csv")?.lines().filter_map(request).collect())
}

fn mooncake() -> Option<Vec<Request>> {
    let number = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("\"{name}\":"))?;
        rest.split([',', '}']).next()?.trim().parse::<f64>().ok()
    };
    let request = |line: &str| {
        let seconds = number(line, "timestamp")? / 1000.0;
        Some((seconds, number(line, "input_length")?, number(line, "output_length")?))
    };
    Some(data("llm/mooncake_conversation.jsonl")?.lines().filter_map(request).collect())
}

/// Requests, tokens in and tokens out of whole windows.
fn windows(requests: &[Request], window_s: f64) -> [Vec<f64>; 3] {
    let first = requests[0].0;
    let count = ((requests[requests.len() - 1].0 - first) / window_s) as usize;
    let mut sums = [vec![0.0; count], vec![0.0; count], vec![0.0; count]];
    for (seconds, tokens_in, tokens_out) in requests {
        let window = ((seconds - first) / window_s) as usize;
        if window < count {
            sums[0][window] += 1.0;
            sums[1][window] += tokens_in;
            sums[2][window] += tokens_out;
        }
    }
    sums
}

fn check(requests: &[Request]) {
    assert!(requests.len() > 10_000);
    // 60 windows of 10 s, ten minutes of an hour, would be about four independent forecasts: too few to speak of coverage.
    for (window_s, horizons) in [(1.0, vec![1, 12, 60]), (10.0, vec![1, 12])] {
        let interval_us = (window_s * 1e6) as i64;
        for (values, what) in windows(requests, window_s).iter().zip(["requests", "tokens in", "tokens out"])
        {
            let said = forecasts(config(&horizons, interval_us), 0, interval_us, values);
            for (outlook, steps) in horizons.iter().enumerate() {
                let mut score = Score::default();
                score.add(&said, values, outlook, *steps, 0);
                let told = format!("{what} in {window_s} s, {steps} ahead: {score:?}");
                assert!(score.count > 250.0 && (0.87..=0.93).contains(&score.coverage()), "{told}");
                // One of the recordings is in steps of three seconds: most windows of one second are empty, and the absolute error favours
                // the latest value, which is often 0, over the mean.
                assert!(score.error < 1.1 * score.naive, "{told}");
            }
        }
    }
}

#[test]
fn intervals_cover_what_they_promise_on_requests_to_azure() {
    if let Some(requests) = azure() {
        check(&requests);
    }
}

#[test]
fn intervals_cover_what_they_promise_on_requests_to_mooncake() {
    if let Some(requests) = mooncake() {
        check(&requests);
    }
}

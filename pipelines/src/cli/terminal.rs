//! What long commands share: a bar on a terminal, and a Ctrl-C that ends them in good order.

use std::io::IsTerminal;

use anyhow::Result;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use thalweg_engine::control::Control;

use super::logging;

/// What a shell expects of a program that Ctrl-C has stopped: 128 + SIGINT.
pub(super) const EXIT_INTERRUPTED: u8 = 130;

// The first signal ends it in good order, the second at once: what is left half done then is taken back by the next run.
pub(super) fn stop_on_signal(control: Control, notice: &'static str) -> Result<()> {
    Ok(ctrlc::set_handler(move || {
        if control.stop_asked() {
            std::process::exit(i32::from(EXIT_INTERRUPTED));
        }
        logging::notice(format_args!("{notice}"));
        control.stop();
    })?)
}

/// A bar on a terminal, nothing elsewhere.
pub(super) fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if !std::io::stderr().is_terminal() || logging::is_json() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar.set_style(style(template));
    bar
}

/// The look of a progress bar, with rates in whole numbers.
pub(super) fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("per_sec", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // A bar that can't be drawn is no reason to stop.
        let _ = write!(out, "{}/s", HumanCount(state.per_sec() as u64));
    })
}

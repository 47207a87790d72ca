//! Windows as written → windows that can be run.

use chrono_tz::{TZ_VARIANTS, Tz};

use super::check::Checker;
use super::model::WindowKind;
use crate::spec::{Duration, Span, Spanned, WindowSpec, suggest};

const DAY_US: i64 = 86_400_000_000;
/// How many windows a row may belong to: each costs a pane's merge when it fires.
const WINDOWS_OF_A_ROW_MAX: i64 = 10_000;

impl Checker<'_> {
    /// Checks a window as far as it could be read; `None` where something is wrong with it, which is said.
    pub(super) fn window(&mut self, window: &Spanned<WindowSpec>, path: &str) -> Option<WindowKind> {
        let before = self.problems.len();
        let path = format!("{path}.window");
        let kind = match &window.value {
            WindowSpec::Tumbling { size, offset, time_zone } => {
                self.positive(size.as_ref(), &path, "tumbling");
                self.less(offset.as_ref(), size.as_ref(), &path, "the window's length");
                let time_zone =
                    time_zone.as_ref().and_then(|name| self.time_zone(name, size.as_ref(), &path));
                size.as_ref().map(|size| WindowKind::Tumbling {
                    size_us: size.us,
                    offset_us: micros(offset.as_ref()),
                    time_zone,
                })
            }
            WindowSpec::Hopping { size, every, offset } => {
                self.positive(size.as_ref(), &path, "hopping");
                self.positive(every.as_ref(), &path, "every");
                self.less(offset.as_ref(), every.as_ref(), &path, "every");
                size.as_ref().zip(every.as_ref()).map(|(size, every)| {
                    self.overlap(size, every, &path);
                    let offset_us = micros(offset.as_ref());
                    WindowKind::Hopping { size_us: size.us, every_us: every.us, offset_us }
                })
            }
            WindowSpec::Session { gap, max } => {
                self.positive(gap.as_ref(), &path, "session");
                gap.as_ref().map(|gap| {
                    if let Some(max) = max.as_ref().filter(|max| max.us < gap.us) {
                        let message = format!("max ({}) is shorter than the gap ({})", max.value, gap.value);
                        self.problem(max.at, &path, message, Some("a session lasts at least its gap".into()));
                    }
                    WindowKind::Session { gap_us: gap.us, max_us: max.as_ref().map(|max| max.us) }
                })
            }
            WindowSpec::Unknown { time_zone } => {
                time_zone.as_ref().and_then(|name| self.zone(name, &path));
                None
            }
        };
        kind.filter(|_| self.problems.len() == before)
    }

    fn positive(&mut self, duration: Option<&Spanned<Duration>>, path: &str, key: &str) {
        if let Some(duration) = duration.filter(|duration| duration.us <= 0) {
            let hint = Some("write a length such as 1m".to_owned());
            self.problem(duration.at, path, format!("{key} must be longer than nothing"), hint);
        }
    }

    fn overlap(&mut self, size: &Spanned<Duration>, every: &Spanned<Duration>, path: &str) {
        if every.us > size.us {
            let hint =
                "rows between two windows would belong to none; use where to leave rows out".to_owned();
            let message = format!("every ({}) is longer than the window ({})", every.value, size.value);
            self.problem(every.at, path, message, Some(hint));
        } else if every.us > 0 && size.us / every.us > WINDOWS_OF_A_ROW_MAX {
            let message = format!("a row would belong to {} windows", size.us / every.us);
            let hint = format!("let windows begin less often: at most {WINDOWS_OF_A_ROW_MAX} may overlap");
            self.problem(every.at, path, message, Some(hint));
        }
    }

    fn less(
        &mut self,
        offset: Option<&Spanned<Duration>>,
        limit: Option<&Spanned<Duration>>,
        path: &str,
        what: &str,
    ) {
        let Some(limit) = limit.map(|limit| limit.value) else { return };
        if let Some(offset) = offset.filter(|offset| limit.us > 0 && offset.us >= limit.us) {
            let message = format!("offset ({}) is not less than {what} ({limit})", offset.value);
            let same = Duration { us: offset.us % limit.us };
            let hint = match same.us {
                0 => "windows begin there anyway; leave it out".to_owned(),
                _ => format!("write {same}, which means the same"),
            };
            self.problem(offset.at, path, message, Some(hint));
        }
    }

    fn time_zone(
        &mut self,
        name: &Spanned<String>,
        size: Option<&Spanned<Duration>>,
        path: &str,
    ) -> Option<Tz> {
        if let Some(size) = size.filter(|size| size.us % DAY_US != 0) {
            let message = format!("a time zone with a window of {}", size.value);
            let hint = "time zones matter to whole days: 1d, 7d; leave it out otherwise".to_owned();
            self.problem(name.at, path, message, Some(hint));
        }
        self.zone(name, path)
    }

    /// The time zone of a name; `None` where there is none, which is said.
    pub(super) fn zone(&mut self, name: &Spanned<String>, path: &str) -> Option<Tz> {
        let found = TZ_VARIANTS.iter().find(|zone| zone.name() == name.value);
        if found.is_none() {
            let names: Vec<&str> = TZ_VARIANTS.iter().map(|zone| zone.name()).collect();
            let hint = match zone_by_city(name, &names) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "write an IANA name, such as Europe/Berlin".to_owned(),
            };
            self.problem(name.at, path, format!("unknown time zone \"{}\"", name.value), Some(hint));
        }
        found.copied()
    }

    /// Notes a problem.
    pub(super) fn problem(&mut self, at: Span, path: &str, message: impl Into<String>, hint: Option<String>) {
        self.problems.push(self.spec.source.problem(at, path, message, hint));
    }
}

/// The zone that was meant: nearly the name, or a city by itself.
fn zone_by_city<'a>(written: &str, names: &[&'a str]) -> Option<&'a str> {
    let city = |name: &'a str| name.rsplit('/').next().unwrap_or(name);
    let wanted = written.replace(' ', "_");
    let by_city = names.iter().find(|name| city(name).eq_ignore_ascii_case(&wanted)).copied();
    by_city.or_else(|| suggest::nearest(&wanted, names.iter().copied()))
}

fn micros(duration: Option<&Spanned<Duration>>) -> i64 {
    duration.map_or(0, |duration| duration.us)
}

//! A source at a cut: it waits for the old epoch to be over, lets splits leave and come back, and says where they are.
//!
//! ```text
//!   reading ─▶ first tick of the next epoch ─▶ frontier has left the old one ─▶ splits leave or come back ─▶ positions
//!                     (Waiting)                                                                    (HandedOver)  │
//!      ▲                                                       the cut before this one is published ◀────────────┘
//!      └───────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A split that comes back has the job's watermark of the cut as its floor: rows of it that lie below would meet windows that have
//! fired. All processes know the same watermark then, since no source has reported anything of the new epoch yet.

use super::*;

/// How far a source is with a cut.
pub(super) enum Progress {
    /// It is reading.
    None,
    /// It has left the epoch of this number, others may not have.
    Waiting(u64),
    /// It has handed over its part of this cut.
    HandedOver(u64),
}

impl SourceState {
    /// Goes as far with a cut as it goes. Whether the source may read on.
    pub(super) fn take_part_in_cut(&mut self) -> bool {
        if let Progress::Waiting(cut) = self.cut {
            if !self.job.gate.passed(last_tick(cut)) {
                self.waits.wait(WaitsFor::Sinks);
                return false;
            }
            self.leave_or_come_back();
            let part = self.part();
            self.job.cuts.give(cut, self.participant, part);
            self.cut = Progress::HandedOver(cut);
        }
        if let Progress::HandedOver(cut) = self.cut {
            if !self.job.cuts.may_resume(cut) {
                self.waits.wait(WaitsFor::Checkpoint);
                return false;
            }
            self.cut = Progress::None;
            self.tick_opened = Instant::now();
        }
        true
    }

    /// The last part: where the splits are now they will be at all later cuts.
    pub(super) fn take_part_for_good(&mut self) {
        let part = self.part();
        self.job.cuts.give_last(epoch_of(self.tick), self.participant, part);
    }

    fn part(&mut self) -> Part {
        let infos = self.reader.splits();
        Part::Source {
            source: self.config.number,
            splits: self.splits.iter().zip(infos).map(|(split, info)| split.position(info)).collect(),
            since: std::mem::take(&mut self.since),
            watermark: self.job.cuts.watermark(),
        }
    }

    /// What the next cut has to know has to be found out before it.
    pub(super) fn ask_whether_silent(&mut self) {
        let Some(idle_after) = self.config.event_time.idle_after else { return };
        for (index, split) in self.splits.iter().enumerate() {
            if split.is_read() && split.unbounded && split.silent >= idle_after {
                self.reader.is_silent(index);
            }
        }
    }

    fn leave_or_come_back(&mut self) {
        let Some(idle_after) = self.config.event_time.idle_after else { return };
        let watermark = self.job.cuts.watermark();
        let (counters, lateness_us) = (&self.job.counters, self.config.event_time.lateness_us);
        for (index, split) in self.splits.iter_mut().enumerate() {
            if split.ended || !split.unbounded {
                continue;
            }
            let name = &self.reader.splits()[index];
            let (topic, partition) = (name.topic.to_string(), name.partition);
            if split.idle && self.reader.at_hand(index) {
                split.come_back(watermark);
                self.report_due = true;
                counters.split(split.number).note(split, lateness_us);
                tracing::info!(topic, partition, "a split has come back from idleness");
            } else if !split.idle && split.silent >= idle_after && self.reader.is_silent(index) {
                split.idle = true;
                self.report_due = true;
                counters.split(split.number).note(split, lateness_us);
                tracing::info!(topic, partition, "a split is idle: it holds back the watermark no more");
            }
        }
    }
}

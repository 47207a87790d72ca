//! The promise that all aggregates keep: neither order nor partition of the rows shows, to the last bit.

use arrow::array::{Array, ArrayRef, BooleanArray};
use proptest::prelude::*;

use super::{Aggregate, Cell, Scatter, aggregates, cells, update};

const GROUPS: u32 = 3;
/// Partial states of a group.
const SLOTS: u32 = 4;

/// States and results of the groups: all rows in one update.
fn straight(aggregate: &Aggregate, cells: &[Cell]) -> (ArrayRef, ArrayRef) {
    let mut accumulator = aggregate.accumulator();
    accumulator.resize(GROUPS as usize);
    let groups: Vec<u32> = cells.iter().map(|cell| cell.group).collect();
    update(aggregate, &mut *accumulator, cells, &groups, None);
    let all: Vec<u32> = (0..GROUPS).collect();
    (accumulator.state(&all), accumulator.evaluate(&all))
}

/// The same, with the rows shuffled, cut into updates among rows that a filter drops, dealt to partial states of two
/// accumulators, and these merged along the way and at the end, in any order.
fn scattered(aggregate: &Aggregate, cells: &[Cell], seed: u64) -> (ArrayRef, ArrayRef) {
    let mut scatter = Scatter(seed);
    let mut rows: Vec<(Cell, bool)> = cells.iter().map(|cell| (cell.clone(), true)).collect();
    let dropped = rows.iter().step_by(3).map(|(cell, _)| (cell.clone(), false)).collect::<Vec<_>>();
    rows.extend(dropped);
    for index in (1..rows.len()).rev() {
        rows.swap(index, scatter.below(index + 1));
    }

    let mut accumulators = [aggregate.accumulator(), aggregate.accumulator()];
    for accumulator in &mut accumulators {
        accumulator.resize((GROUPS * SLOTS) as usize);
    }
    let mut rest = &rows[..];
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(1 + scatter.below(rest.len()));
        rest = after;
        let cells: Vec<Cell> = chunk.iter().map(|(cell, _)| cell.clone()).collect();
        let groups: Vec<u32> =
            cells.iter().map(|cell| cell.group * SLOTS + scatter.below(SLOTS as usize) as u32).collect();
        // A dropped row's filter is false or null.
        let filter: BooleanArray = chunk
            .iter()
            .map(|(cell, kept)| if *kept { Some(true) } else { (cell.place % 2 == 0).then_some(false) })
            .collect();
        let filter = (filter.true_count() < filter.len() || scatter.below(2) == 0).then_some(filter);
        let accumulator = &mut accumulators[scatter.below(2)];
        update(aggregate, &mut **accumulator, &cells, &groups, filter.as_ref());
        for group in 0..GROUPS {
            if scatter.below(3) == 0 {
                let into = scatter.below(SLOTS as usize) as u32;
                let from = (into + 1 + scatter.below(SLOTS as usize - 1) as u32) % SLOTS;
                merge(&mut **accumulator, group * SLOTS + into, group * SLOTS + from, scatter.below(2) == 0);
            }
        }
    }

    let [mut own, other] = accumulators;
    let from: Vec<u32> = (0..GROUPS * SLOTS).collect();
    let into: Vec<u32> =
        from.iter().map(|group| group / SLOTS * SLOTS + scatter.below(SLOTS as usize) as u32).collect();
    own.merge_states(&into, &other.state(&from)).unwrap();
    let mut kept = Vec::new();
    for group in 0..GROUPS {
        let mut slots: Vec<u32> = (group * SLOTS..(group + 1) * SLOTS).collect();
        while slots.len() > 1 {
            let from = slots.swap_remove(scatter.below(slots.len()));
            let into = slots[scatter.below(slots.len())];
            merge(&mut *own, into, from, scatter.below(2) == 0);
        }
        kept.push(slots[0]);
    }
    (own.state(&kept), own.evaluate(&kept))
}

/// Moves one group's state into another's.
fn merge(accumulator: &mut dyn super::Accumulator, into: u32, from: u32, as_bytes: bool) {
    if as_bytes {
        let state = accumulator.state(&[from]);
        accumulator.merge_states(&[into], &state).unwrap();
    } else {
        accumulator.merge_within(into, from);
    }
    accumulator.reset(&[from]);
}

fn check(cells: &[Cell], seed: u64) {
    for aggregate in aggregates() {
        let (state, result) = straight(&aggregate, cells);
        let (other_state, other_result) = scattered(&aggregate, cells, seed);
        assert_eq!(result.data_type(), &aggregate.result_type(), "{aggregate:?}");
        assert!(aggregate.nullable() || result.null_count() == 0, "{aggregate:?}");
        // As data: floats are then compared by their bits.
        assert_eq!(state.to_data(), other_state.to_data(), "state of {aggregate:?}");
        assert_eq!(result.to_data(), other_result.to_data(), "result of {aggregate:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_and_partition_of_few_rows_never_show(cells in cells(0..40), seed in any::<u64>()) {
        check(&cells, seed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2, max_shrink_iters: 20, failure_persistence: None, ..ProptestConfig::default()
    })]

    /// Enough for registers in place of hashes, counters in place of codes, and values cut off.
    #[test]
    fn order_and_partition_of_many_rows_never_show(cells in cells(3_000..3_500), seed in any::<u64>()) {
        check(&cells, seed);
    }
}

#[test]
fn a_reset_group_is_empty_again_and_gives_its_memory_back() {
    let cells: Vec<Cell> = (0..2_000u64)
        .map(|row| Cell {
            group: 0,
            kind: [row as u8, 200],
            bits: [Scatter(row).next(), row],
            place: row as u16,
        })
        .collect();
    for aggregate in aggregates() {
        let mut accumulator = aggregate.accumulator();
        accumulator.resize(1);
        let (empty, bytes) = (accumulator.state(&[0]), accumulator.memory_bytes());
        update(&aggregate, &mut *accumulator, &cells, &vec![0; cells.len()], None);
        assert_ne!(accumulator.state(&[0]).to_data(), empty.to_data(), "{aggregate:?}");
        accumulator.reset(&[0]);
        assert_eq!(accumulator.state(&[0]).to_data(), empty.to_data(), "{aggregate:?}");
        assert_eq!(accumulator.memory_bytes(), bytes, "{aggregate:?}");
    }
}

//! States come from files and other processes: whatever they hold, reading them gives a state or an error.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, FixedSizeBinaryArray, Int32Array, new_null_array};
use arrow::datatypes::DataType;

use super::super::AggregateError;
use super::{Aggregate, Cell, Function, Scatter, aggregates, update};

/// The states of one group after 20 rows, and of one after 2,000.
fn states(aggregate: &Aggregate) -> ArrayRef {
    let cells: Vec<Cell> = (0..2_020u64)
        .map(|row| Cell {
            group: u32::from(row >= 20),
            kind: [Scatter(row).next() as u8, 200],
            bits: [Scatter(row).next(), row],
            place: row as u16,
        })
        .collect();
    let groups: Vec<u32> = cells.iter().map(|cell| cell.group).collect();
    let mut accumulator = aggregate.accumulator();
    accumulator.resize(2);
    update(aggregate, &mut *accumulator, &cells, &groups, None);
    accumulator.state(&[0, 1])
}

/// Reads bytes as a state twice, and uses it; what is accepted must be canonical.
fn read(aggregate: &Aggregate, bytes: &[u8]) -> Result<(), AggregateError> {
    let column: ArrayRef = match aggregate.accumulator().state_type() {
        DataType::Binary => Arc::new(BinaryArray::from_vec(vec![bytes])),
        _ => Arc::new(FixedSizeBinaryArray::try_from_iter([bytes].into_iter()).unwrap()),
    };
    let mut accumulator = aggregate.accumulator();
    accumulator.resize(2);
    accumulator.merge_states(&[1], &column)?;
    assert_eq!(accumulator.state(&[1]).to_data(), column.to_data(), "{aggregate:?}: not canonical");
    accumulator.merge_states(&[1], &column)?;
    accumulator.merge_within(0, 1);
    accumulator.evaluate(&[0, 1]);
    accumulator.state(&[0, 1]);
    Ok(())
}

#[test]
fn damaged_bytes_are_refused_or_read_as_another_state() {
    let mut refused = 0;
    let of_bytes = |aggregate: &Aggregate| {
        let state_type = aggregate.accumulator().state_type();
        // The states of the least and the greatest value are values, and any is one.
        let bytes = matches!(state_type, DataType::Binary | DataType::FixedSizeBinary(_));
        bytes && !matches!(aggregate.function(), Function::Min | Function::Max)
    };
    for aggregate in aggregates().into_iter().filter(of_bytes) {
        let states = states(&aggregate);
        for row in 0..states.len() {
            let bytes = match states.data_type() {
                DataType::Binary => states.as_binary::<i32>().value(row),
                _ => states.as_fixed_size_binary().value(row),
            };
            let mut scatter = Scatter(row as u64);
            read(&aggregate, bytes).unwrap();
            if bytes.is_empty() {
                // Nothing but nulls.
                continue;
            }
            if states.data_type() == &DataType::Binary && bytes.len() > 1 {
                let cut = 1 + scatter.below(bytes.len() - 1);
                // A set of hashes may lose some, and goes on being one.
                let hashes = aggregate.function() == Function::CountDistinct && cut.is_multiple_of(8);
                assert!(hashes || read(&aggregate, &bytes[..cut]).is_err(), "{aggregate:?}: cut to {cut}");
                let longer = [bytes, &[0]].concat();
                assert!(read(&aggregate, &longer).is_err(), "{aggregate:?}: a byte too many");
            }
            for _ in 0..30 {
                let mut damaged = bytes.to_vec();
                for _ in 0..1 + scatter.below(2) {
                    // The head of a state is where most of the structure is.
                    let end = if scatter.below(2) == 0 { damaged.len().min(24) } else { damaged.len() };
                    damaged[scatter.below(end)] ^= scatter.next() as u8;
                }
                refused += usize::from(read(&aggregate, &damaged).is_err());
            }
        }
    }
    assert!(refused > 1_000, "{refused}");
}

#[test]
fn columns_of_another_shape_are_refused() {
    for aggregate in aggregates() {
        let mut accumulator = aggregate.accumulator();
        accumulator.resize(2);
        let states = accumulator.state(&[0, 1]);
        let other: ArrayRef = if states.data_type() == &DataType::Int32 {
            Arc::new(BinaryArray::from_vec(vec![b"", b""]))
        } else {
            Arc::new(Int32Array::from(vec![1, 2]))
        };
        assert!(accumulator.merge_states(&[0, 1], &other).is_err(), "{aggregate:?}: another type");
        assert!(accumulator.merge_states(&[0], &states).is_err(), "{aggregate:?}: another length");
        let nulls = new_null_array(states.data_type(), 2);
        let name = aggregate.function().name();
        let allowed = ["min", "max", "bool_and", "bool_or", "bit_and", "bit_or", "bit_xor"].contains(&name);
        assert_eq!(accumulator.merge_states(&[0, 1], &nulls).is_ok(), allowed, "{aggregate:?}: nulls");
    }
}

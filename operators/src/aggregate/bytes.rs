//! States of varying length as bytes: written, read back, and checked.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder};

use super::groups::Picked;

/// States as a Binary column; `write` appends one state's bytes.
pub(super) fn write_states<S>(states: Picked<'_, S>, mut write: impl FnMut(&S, &mut Vec<u8>)) -> ArrayRef {
    let states = states.iter();
    let mut builder = BinaryBuilder::with_capacity(states.len(), 32 * states.len());
    let mut bytes = Vec::new();
    for state in states {
        bytes.clear();
        write(state, &mut bytes);
        builder.append_value(&bytes);
    }
    Arc::new(builder.finish())
}

/// Reads what [`write_states`] wrote: `read` reads one state, and all of its bytes.
pub(super) fn read_states<S>(
    column: &ArrayRef,
    each: &mut dyn FnMut(usize, S),
    mut read: impl FnMut(&mut Reader<'_>) -> Result<S, String>,
) -> Result<(), String> {
    let column = column.as_binary::<i32>();
    for row in 0..column.len() {
        let mut reader = Reader(column.value(row));
        let state = read(&mut reader)?;
        if !reader.0.is_empty() {
            return Err(format!("{} bytes too many", reader.0.len()));
        }
        each(row, state);
    }
    Ok(())
}

/// Appends a number, seven bits a byte, the low ones first.
pub(super) fn write_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// What is left to read of one state.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("invariant: take gives as many bytes as asked for"))
    }

    pub(super) fn byte(&mut self) -> Result<u8, String> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64, String> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub(super) fn varint(&mut self) -> Result<u64, String> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number is malformed".to_owned())
    }
}

//! State as bytes of a checkpoint, and back: little-endian, no padding, floats by their bits.

/// Why bytes are no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// They end too early.
    #[error("the state of a model ends after {length} bytes, in the middle of a value")]
    Short {
        /// How many there are.
        length: usize,
    },
    /// More follow than were read.
    #[error("the state of a model has {left} bytes too many")]
    Long {
        /// How many are left.
        left: usize,
    },
    /// A value that no state has.
    #[error("the state of a model is damaged: {what}")]
    Damaged {
        /// Which value, and why it can't be.
        what: String,
    },
    /// It was written for another configuration or by another version.
    #[error("the state of a model was made by {found}, and this is {known}")]
    Other {
        /// Who wrote it.
        found: String,
        /// Who reads it.
        known: String,
    },
}

/// Appends values to bytes.
#[derive(Debug)]
pub struct Writer<'a>(pub &'a mut Vec<u8>);

impl Writer<'_> {
    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Eight bytes.
    pub fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Four bytes.
    pub fn f32(&mut self, value: f32) {
        self.u32(value.to_bits());
    }

    /// Eight bytes.
    pub fn f64(&mut self, value: f64) {
        self.u64(value.to_bits());
    }

    /// A length, then so many floats.
    pub fn f32s(&mut self, values: &[f32]) {
        self.u32(values.len() as u32);
        values.iter().for_each(|value| self.f32(*value));
    }

    /// A length, then so many floats.
    pub fn f64s(&mut self, values: &[f64]) {
        self.u32(values.len() as u32);
        values.iter().for_each(|value| self.f64(*value));
    }
}

/// Takes values off bytes, in the order in which they were written.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    length: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the first byte on.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, length: bytes.len() }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let (first, rest) =
            self.bytes.split_first_chunk::<N>().ok_or(StateError::Short { length: self.length })?;
        self.bytes = rest;
        Ok(*first)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`StateError::Short`], as for all others.
    pub fn u8(&mut self) -> Result<u8, StateError> {
        Ok(u8::from_le_bytes(self.take()?))
    }

    /// Two bytes.
    ///
    /// # Errors
    /// [`StateError::Short`].
    pub fn u16(&mut self) -> Result<u16, StateError> {
        Ok(u16::from_le_bytes(self.take()?))
    }

    /// Four bytes.
    ///
    /// # Errors
    /// [`StateError::Short`].
    pub fn u32(&mut self) -> Result<u32, StateError> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// [`StateError::Short`].
    pub fn u64(&mut self) -> Result<u64, StateError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// [`StateError::Short`].
    pub fn i64(&mut self) -> Result<i64, StateError> {
        Ok(i64::from_le_bytes(self.take()?))
    }

    /// Four bytes.
    ///
    /// # Errors
    /// [`StateError::Short`].
    pub fn f32(&mut self) -> Result<f32, StateError> {
        Ok(f32::from_bits(self.u32()?))
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// [`StateError::Short`].
    pub fn f64(&mut self) -> Result<f64, StateError> {
        Ok(f64::from_bits(self.u64()?))
    }

    fn length(&mut self, bytes_each: usize, length_max: usize) -> Result<usize, StateError> {
        let length = self.u32()? as usize;
        if length > length_max {
            let what = format!("a list of {length} values, where {length_max} are the most");
            return Err(StateError::Damaged { what });
        }
        if length * bytes_each > self.bytes.len() {
            return Err(StateError::Short { length: self.length });
        }
        Ok(length)
    }

    /// What [`Writer::f32s`] wrote, of at most `length_max` values.
    ///
    /// # Errors
    /// [`StateError::Short`]; [`StateError::Damaged`] for more values.
    pub fn f32s(&mut self, length_max: usize) -> Result<Vec<f32>, StateError> {
        let length = self.length(4, length_max)?;
        (0..length).map(|_| self.f32()).collect()
    }

    /// What [`Writer::f64s`] wrote, of at most `length_max` values.
    ///
    /// # Errors
    /// [`StateError::Short`]; [`StateError::Damaged`] for more values.
    pub fn f64s(&mut self, length_max: usize) -> Result<Vec<f64>, StateError> {
        let length = self.length(8, length_max)?;
        (0..length).map(|_| self.f64()).collect()
    }

    /// Says that nothing may follow.
    ///
    /// # Errors
    /// [`StateError::Long`].
    pub fn end(self) -> Result<(), StateError> {
        match self.bytes.len() {
            0 => Ok(()),
            left => Err(StateError::Long { left }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back_and_nothing_else() {
        let mut bytes = Vec::new();
        let mut writer = Writer(&mut bytes);
        writer.u8(1);
        writer.i64(-5);
        writer.f64s(&[0.5, -0.0, f64::NAN]);
        writer.f32s(&[1.5]);
        let mut reader = Reader::new(&bytes);
        assert_eq!((reader.u8(), reader.i64()), (Ok(1), Ok(-5)));
        let floats = reader.f64s(3).unwrap();
        assert_eq!(floats.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), {
            [0.5, -0.0, f64::NAN].map(f64::to_bits)
        });
        assert_eq!(reader.f32s(1), Ok(vec![1.5]));
        assert_eq!(reader.end(), Ok(()));
        let mut cut = Reader::new(&bytes[..bytes.len() - 1]);
        cut.u8().unwrap();
        cut.i64().unwrap();
        cut.f64s(3).unwrap();
        assert!(matches!(cut.f32s(1), Err(StateError::Short { .. })));
        let mut damaged = Reader::new(&[255; 40]);
        assert!(matches!(damaged.f64s(1000), Err(StateError::Damaged { .. })));
        assert_eq!(Reader::new(&[0]).end(), Err(StateError::Long { left: 1 }));
    }
}

//! One walk over the fields of a state that writes them or reads them, so that the two can't differ.

use super::Class;
use crate::bytes::{Reader, StateError, Writer};

/// Writes each field it is shown, or fills it with what was written.
pub(crate) enum Fields<'a, 'b> {
    /// Writes.
    Write(&'a mut Writer<'b>),
    /// Reads.
    Read(&'a mut Reader<'b>),
}

impl Fields<'_, '_> {
    /// A float.
    pub fn f64(&mut self, field: &mut f64) -> Result<(), StateError> {
        match self {
            Fields::Write(writer) => writer.f64(*field),
            Fields::Read(reader) => *field = reader.f64()?,
        }
        Ok(())
    }

    /// Floats, of which both sides know how many there are.
    pub fn f64s(&mut self, fields: &mut [f64]) -> Result<(), StateError> {
        fields.iter_mut().try_for_each(|field| self.f64(field))
    }

    /// A short float.
    pub fn f32(&mut self, field: &mut f32) -> Result<(), StateError> {
        match self {
            Fields::Write(writer) => writer.f32(*field),
            Fields::Read(reader) => *field = reader.f32()?,
        }
        Ok(())
    }

    /// Short floats, of which both sides know how many there are.
    pub fn f32s(&mut self, fields: &mut [f32]) -> Result<(), StateError> {
        fields.iter_mut().try_for_each(|field| self.f32(field))
    }

    /// Bytes, of which both sides know how many there are.
    pub fn u8s(&mut self, fields: &mut [u8]) -> Result<(), StateError> {
        for field in fields {
            match self {
                Fields::Write(writer) => writer.u8(*field),
                Fields::Read(reader) => *field = reader.u8()?,
            }
        }
        Ok(())
    }

    /// A count.
    pub fn u32(&mut self, field: &mut u32) -> Result<(), StateError> {
        match self {
            Fields::Write(writer) => writer.u32(*field),
            Fields::Read(reader) => *field = reader.u32()?,
        }
        Ok(())
    }

    /// A large count.
    pub fn u64(&mut self, field: &mut u64) -> Result<(), StateError> {
        match self {
            Fields::Write(writer) => writer.u64(*field),
            Fields::Read(reader) => *field = reader.u64()?,
        }
        Ok(())
    }

    /// A time.
    pub fn i64(&mut self, field: &mut i64) -> Result<(), StateError> {
        match self {
            Fields::Write(writer) => writer.i64(*field),
            Fields::Read(reader) => *field = reader.i64()?,
        }
        Ok(())
    }

    /// A kind of anomaly.
    pub fn class(&mut self, field: &mut Class) -> Result<(), StateError> {
        let all = [Class::Spike, Class::Drift, Class::Outlier, Class::Trend, Class::Seasonal];
        match self {
            Fields::Write(writer) => writer.u8(*field as u8),
            Fields::Read(reader) => {
                let number = reader.u8()?;
                let damaged = || StateError::Damaged { what: format!("{number}, which is no class") };
                *field = *all.get(usize::from(number)).ok_or_else(damaged)?;
            }
        }
        Ok(())
    }

    /// A yes or no.
    pub fn bool(&mut self, field: &mut bool) -> Result<(), StateError> {
        match self {
            Fields::Write(writer) => writer.u8(u8::from(*field)),
            Fields::Read(reader) => match reader.u8()? {
                0 => *field = false,
                1 => *field = true,
                other => {
                    let what = format!("{other}, where only 0 and 1 can stand");
                    return Err(StateError::Damaged { what });
                }
            },
        }
        Ok(())
    }
}

//! A position in a payload, and the ways to move it: over white space, literals, numbers, strings, whole values.
//!
//! Nothing here recurses, so that no payload can exhaust the stack.

use super::fault::Fault;
use super::number::Number;

/// Objects and arrays may be nested this deep, the payload's own object counted.
pub(super) const DEPTH_MAX: u32 = 128;

/// Reads a payload from front to back. The payload must be UTF-8.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

/// A string's content between its quotes, checked but not yet unescaped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) bytes: &'a [u8],
    /// Whether a backslash occurs in it.
    pub(super) escaped: bool,
}

impl<'a> Cursor<'a> {
    /// The byte here; 0 at the end, which no part of the grammar begins with.
    #[inline(always)]
    pub(super) fn byte(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Moves over white space.
    #[inline(always)]
    pub(super) fn space(&mut self) {
        if self.byte() <= b' ' {
            self.space_slow();
        }
    }

    #[inline(never)]
    fn space_slow(&mut self) {
        while let b' ' | b'\n' | b'\r' | b'\t' = self.byte() {
            self.at += 1;
        }
    }

    /// Moves over one byte that has to be here.
    #[inline(always)]
    pub(super) fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Fault> {
        if self.byte() != byte {
            return Err(self.syntax(what));
        }
        self.at += 1;
        Ok(())
    }

    /// The fault of meeting something else here than `what`.
    #[cold]
    pub(super) fn syntax(&self, what: &'static str) -> Fault {
        Fault::Syntax { at: self.at, what }
    }

    /// Moves over `true`, `false` or `null`.
    #[inline]
    pub(super) fn literal(&mut self, literal: &'static str) -> Result<(), Fault> {
        if !self.bytes[self.at..].starts_with(literal.as_bytes()) {
            return Err(self.syntax("expected a value"));
        }
        self.at += literal.len();
        Ok(())
    }

    /// Moves over a number, which begins here.
    #[inline]
    pub(super) fn number(&mut self) -> Result<Number, Fault> {
        let number = Number::scan(self.bytes, self.at)?;
        self.at = number.end;
        Ok(number)
    }

    /// Moves over a whole value of any kind. `depth` is that of the object or array it lies in (0: none).
    pub(super) fn skip_value(&mut self, depth: u32) -> Result<(), Fault> {
        // One bit for each container that is open within the value, the innermost lowest: 1 an object, 0 an array.
        let mut objects: u128 = 0;
        let mut open: u32 = 0;
        loop {
            match self.byte() {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    if depth + open >= DEPTH_MAX {
                        return Err(self.syntax("nested deeper than 128 levels"));
                    }
                    let is_object = self.byte() == b'{';
                    objects = objects << 1 | u128::from(is_object);
                    open += 1;
                    self.at += 1;
                    self.space();
                    let closing = if is_object { b'}' } else { b']' };
                    if self.byte() != closing {
                        if is_object {
                            self.key()?;
                        }
                        continue;
                    }
                    self.at += 1;
                    objects >>= 1;
                    open -= 1;
                }
                b't' => self.literal("true")?,
                b'f' => self.literal("false")?,
                b'n' => self.literal("null")?,
                b'-' | b'0'..=b'9' => {
                    self.number()?;
                }
                _ => return Err(self.syntax("expected a value")),
            }
            // A value has ended: close what ends with it, or go on to the next one.
            loop {
                if open == 0 {
                    return Ok(());
                }
                self.space();
                let is_object = objects & 1 == 1;
                match (self.byte(), is_object) {
                    (b',', _) => {
                        self.at += 1;
                        self.space();
                        if is_object {
                            self.key()?;
                        }
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        self.at += 1;
                        objects >>= 1;
                        open -= 1;
                    }
                    (_, true) => return Err(self.syntax("expected , or }")),
                    (_, false) => return Err(self.syntax("expected , or ]")),
                }
            }
        }
    }

    /// Moves over a key, its colon, and the white space behind.
    fn key(&mut self) -> Result<(), Fault> {
        self.string()?;
        self.space();
        self.expect(b':', "expected :")?;
        self.space();
        Ok(())
    }
}

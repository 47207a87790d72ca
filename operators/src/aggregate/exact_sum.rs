//! Sums of f64, and of products of two f64, without any rounding until the end.
//!
//! ```text
//!            2^base                        value = acc · 2^base
//!   window:    ├──────── acc: 128 or 256 bits, signed ────────┤     nearly every group stays here, without heap
//!                 ±m·2^e  ─▶  acc += ±m << (e − base)
//!                 out of range: move the window; still out: spill
//!   spilled: ├───────────── every bit that a sum can have, fixed point ─────────────┤     on the heap
//! ```
//!
//! A sum is a number, and numbers add exactly in any order. Base and form do depend on the order, so they never show:
//! [`WindowSum::write`] writes the lowest set bit's exponent and the odd magnitude.

mod fixed;

use super::bytes::{Reader, write_varint};
use super::limbs::{Exact, Natural, bit_length, round};
use fixed::{absolute, add_signed, aligned, odd, placed, shifted_left, signed};

/// A sum of f64: 24 bytes in its window. −0 counts as +0; NaN and ±∞ are flags.
pub(super) type ExactSum = WindowSum<2, 34>;
/// A sum of products of two finite f64: 40 bytes in its window.
pub(super) type ProductSum = WindowSum<4, 67>;

/// A value was added: tells a sum of zeros from an empty one.
const ADDED: u8 = 1;
const NAN: u8 = 2;
const INFINITE: u8 = 4;
const NEGATIVE_INFINITE: u8 = 8;
/// In written sums only.
const NOT_ZERO: u8 = 64;
const NEGATIVE: u8 = 128;

/// A finite f64: ±magnitude · 2^exponent, the magnitude below 2^53.
#[derive(Clone, Copy)]
pub(super) struct Term {
    magnitude: u64,
    exponent: i32,
    negative: bool,
}

impl Term {
    /// `None` for NaN and ±∞.
    #[inline(always)]
    pub(super) fn of(value: f64) -> Option<Term> {
        let bits = value.to_bits();
        let field = (bits >> 52 & 0x7ff) as i32;
        if field == 0x7ff {
            return None;
        }
        let magnitude = bits & ((1 << 52) - 1) | u64::from(field != 0) << 52;
        Some(Term { magnitude, exponent: field.max(1) - 1075, negative: bits >> 63 == 1 })
    }
}

/// An exact sum: a window of `LIMBS` limbs, spilling to `SPILL` ones. See [`ExactSum`] and [`ProductSum`].
#[derive(Debug, Clone)]
pub(super) enum WindowSum<const LIMBS: usize, const SPILL: usize> {
    /// acc · 2^base, acc in two's complement.
    Window {
        acc: [u64; LIMBS],
        base: i16,
        flags: u8,
    },
    Spilled(Box<Spill<SPILL>>),
}

/// Fixed point in two's complement: limbs · 2^FLOOR. Holds 2^64 of the greatest terms.
#[derive(Debug, Clone)]
pub(super) struct Spill<const SPILL: usize> {
    limbs: [u64; SPILL],
    flags: u8,
}

impl<const LIMBS: usize, const SPILL: usize> Default for WindowSum<LIMBS, SPILL> {
    fn default() -> Self {
        // No term has an exponent this high, so the first one takes the slow way, which places the window.
        WindowSum::Window { acc: [0; LIMBS], base: i16::MAX, flags: 0 }
    }
}

impl ExactSum {
    /// Adds a value.
    #[inline(always)]
    pub(super) fn add(&mut self, value: f64) {
        match Term::of(value) {
            Some(term) => self.add_finite(term),
            None => self.add_special(value),
        }
    }

    /// Adds a value that is already taken apart.
    #[inline(always)]
    pub(super) fn add_finite(&mut self, term: Term) {
        self.add_term(term.magnitude.into(), term.exponent, term.negative);
    }

    #[cold]
    fn add_special(&mut self, value: f64) {
        let flag = match value {
            nan if nan.is_nan() => NAN,
            infinite if infinite > 0.0 => INFINITE,
            _ => NEGATIVE_INFINITE,
        };
        self.set_flags(ADDED | flag);
    }

    /// Whether no value was added.
    pub(super) fn is_empty(&self) -> bool {
        self.flags() & ADDED == 0
    }

    /// NaN or ±∞, where the sum is that; else `None`.
    pub(super) fn special(&self) -> Option<f64> {
        match self.flags() & (NAN | INFINITE | NEGATIVE_INFINITE) {
            0 => None,
            INFINITE => Some(f64::INFINITY),
            NEGATIVE_INFINITE => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }

    /// The sum, rounded once; +0 where it is zero, ±∞ beyond the range of an f64.
    pub(super) fn value(&self) -> f64 {
        self.special().unwrap_or_else(|| self.round())
    }

    /// The sum divided by a count, which isn't 0, rounded once.
    pub(super) fn mean(&self, count: u64) -> f64 {
        self.special().unwrap_or_else(|| self.exact().round_quotient(&Exact::of(count)))
    }
}

impl ProductSum {
    /// Adds left · right.
    #[inline(always)]
    pub(super) fn add(&mut self, left: Term, right: Term) {
        let magnitude = u128::from(left.magnitude) * u128::from(right.magnitude);
        self.add_term(magnitude, left.exponent + right.exponent, left.negative != right.negative);
    }
}

impl<const LIMBS: usize, const SPILL: usize> WindowSum<LIMBS, SPILL> {
    /// How many f64 a term is the product of.
    const FACTORS: usize = LIMBS / 2;
    /// The exponent of the lowest bit that a term can have.
    const FLOOR: i32 = -1074 * Self::FACTORS as i32;
    /// Bits of a window that are used: one for the sign, one so that two aligned numbers add without overflow.
    const USED: usize = 64 * LIMBS - 2;
    /// A term shifted further could leave the window.
    const SHIFT_MAX: u32 = (Self::USED - 53 * Self::FACTORS) as u32;
    /// How far below the first term the window begins: as much room for smaller terms as for greater ones.
    const CENTRE: usize = Self::SHIFT_MAX as usize / 2;
    /// Products are of finite numbers, and are counted elsewhere.
    const KNOWN_FLAGS: u8 = if LIMBS == 2 { ADDED | NAN | INFINITE | NEGATIVE_INFINITE } else { 0 };
    /// Bits left free above a sum when its window is moved.
    const HEADROOM: usize = 12;

    fn flags(&self) -> u8 {
        match self {
            WindowSum::Window { flags, .. } => *flags,
            WindowSum::Spilled(spill) => spill.flags,
        }
    }

    fn set_flags(&mut self, set: u8) {
        match self {
            WindowSum::Window { flags, .. } => *flags |= set,
            WindowSum::Spilled(spill) => spill.flags |= set,
        }
    }

    #[inline(always)]
    fn add_term(&mut self, magnitude: u128, exponent: i32, negative: bool) {
        if let WindowSum::Window { acc, base, .. } = self {
            let shift = (exponent - i32::from(*base)) as u32;
            if shift <= Self::SHIFT_MAX
                && let Some(sum) = add_signed(acc, &placed(magnitude, shift), negative)
            {
                *acc = sum;
                return;
            }
        }
        self.add_slow(magnitude, exponent, negative);
    }

    #[cold]
    #[inline(never)]
    fn add_slow(&mut self, magnitude: u128, exponent: i32, negative: bool) {
        // The first value always comes here, so that the fast way needn't tell that there is one.
        self.set_flags(Self::KNOWN_FLAGS & ADDED);
        let mut limbs = [0; LIMBS];
        limbs[0] = magnitude as u64;
        limbs[1] = (magnitude >> 64) as u64;
        self.absorb(&limbs, exponent, negative);
    }

    /// Adds ±magnitude · 2^exponent, moving the window or spilling where need be.
    fn absorb(&mut self, magnitude: &[u64; LIMBS], exponent: i32, negative: bool) {
        if bit_length(magnitude) == 0 {
            return;
        }
        if let WindowSum::Window { acc, base, .. } = self
            && let Some((sum, moved)) = Self::moved(acc, (*base).into(), magnitude, exponent, negative)
        {
            *acc = sum;
            *base = moved as i16;
            return;
        }
        let (magnitude, exponent) = odd(magnitude, exponent);
        self.spill().add(&magnitude, exponent - Self::FLOOR, negative);
    }

    /// The sum of acc · 2^base and a term, in a window that holds it, with its base; `None` where none does.
    fn moved(
        acc: &[u64; LIMBS],
        base: i32,
        magnitude: &[u64; LIMBS],
        exponent: i32,
        negative: bool,
    ) -> Option<([u64; LIMBS], i32)> {
        let (acc_negative, acc) = absolute(acc);
        let (acc, acc_exponent) = odd(&acc, base);
        let (term, term_exponent) = odd(magnitude, exponent);
        let (low, wanted, sum_negative, sum);
        if bit_length(&acc) == 0 {
            (low, wanted) = (term_exponent, exponent - Self::CENTRE as i32);
            (sum_negative, sum) = (negative, term);
        } else {
            // The window should go on to take what it took, and terms like this one.
            (low, wanted) = (acc_exponent.min(term_exponent), base.min(exponent));
            let acc = aligned(&acc, acc_exponent - low, Self::USED)?;
            let term = aligned(&term, term_exponent - low, Self::USED)?;
            let signed = add_signed(&signed(&acc, acc_negative), &term, negative)?;
            (sum_negative, sum) = absolute(&signed);
        }
        let free = Self::USED.saturating_sub(bit_length(&sum) + Self::HEADROOM);
        let lower = usize::try_from(low - wanted).unwrap_or(0).min(free);
        Some((signed(&shifted_left(&sum, lower), sum_negative), low - lower as i32))
    }

    /// Changes to the spilled form.
    fn spill(&mut self) -> &mut Spill<SPILL> {
        if let WindowSum::Window { acc, base, flags } = self {
            let mut spill = Box::new(Spill { limbs: [0; SPILL], flags: *flags });
            let (negative, acc) = absolute(acc);
            let (acc, exponent) = odd(&acc, (*base).into());
            if bit_length(&acc) > 0 {
                spill.add(&acc, exponent - Self::FLOOR, negative);
            }
            *self = WindowSum::Spilled(spill);
        }
        match self {
            WindowSum::Spilled(spill) => spill,
            WindowSum::Window { .. } => unreachable!("invariant: it has just been spilled"),
        }
    }

    /// Adds another sum.
    pub(super) fn merge(&mut self, other: &Self) {
        match (&mut *self, other) {
            (
                WindowSum::Window { acc, base, flags },
                WindowSum::Window { acc: term, base: other_base, flags: set },
            ) => {
                *flags |= set;
                if acc.iter().all(|&limb| limb == 0) {
                    (*acc, *base) = (*term, *other_base);
                    return;
                }
                if base == other_base
                    && let Some(sum) = add_signed(acc, term, false)
                {
                    *acc = sum;
                    return;
                }
                let (negative, magnitude) = absolute(term);
                self.absorb(&magnitude, (*other_base).into(), negative);
            }
            (WindowSum::Spilled(spill), WindowSum::Window { acc, base, flags }) => {
                spill.flags |= flags;
                let (negative, magnitude) = absolute(acc);
                let (magnitude, exponent) = odd(&magnitude, (*base).into());
                if bit_length(&magnitude) > 0 {
                    spill.add(&magnitude, exponent - Self::FLOOR, negative);
                }
            }
            (_, WindowSum::Spilled(other)) => {
                let spill = self.spill();
                spill.flags |= other.flags;
                let mut carry = false;
                for (limb, &added) in spill.limbs.iter_mut().zip(&other.limbs) {
                    (*limb, carry) = limb.carrying_add(added, carry);
                }
            }
        }
    }

    fn round(&self) -> f64 {
        match self {
            WindowSum::Window { acc, base, .. } => {
                let (negative, magnitude) = absolute(acc);
                round(negative, &magnitude, (*base).into())
            }
            WindowSum::Spilled(spill) => {
                let (negative, magnitude) = absolute(&spill.limbs);
                round(negative, &magnitude, Self::FLOOR.into())
            }
        }
    }

    /// The finite part as a number, its magnitude odd or zero.
    pub(super) fn exact(&self) -> Exact {
        match self {
            WindowSum::Window { acc, base, .. } => {
                let (negative, magnitude) = absolute(acc);
                let (magnitude, exponent) = odd(&magnitude, (*base).into());
                Exact { negative, magnitude: Natural::new(magnitude.to_vec()), exponent: exponent.into() }
            }
            WindowSum::Spilled(spill) => {
                let (negative, magnitude) = absolute(&spill.limbs);
                let (magnitude, exponent) = odd(&magnitude, Self::FLOOR);
                Exact { negative, magnitude: Natural::new(magnitude.to_vec()), exponent: exponent.into() }
            }
        }
    }

    /// Appends the sum's canonical bytes: flags and sign (1 byte); where it isn't zero, the exponent of the lowest set bit (2),
    /// the number of bytes of the odd magnitude, and these, the low ones first.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let exact = self.exact();
        if exact.is_zero() {
            out.push(self.flags());
            return;
        }
        out.push(self.flags() | NOT_ZERO | if exact.negative { NEGATIVE } else { 0 });
        out.extend_from_slice(&(exact.exponent as i16).to_le_bytes());
        let length = exact.magnitude.bit_length().div_ceil(8);
        write_varint(length as u64, out);
        out.extend(exact.magnitude.limbs().iter().flat_map(|limb| limb.to_le_bytes()).take(length));
    }

    /// Reads what [`WindowSum::write`] wrote.
    pub(super) fn read(bytes: &mut Reader<'_>) -> Result<Self, String> {
        let head = bytes.byte()?;
        let flags = head & !(NOT_ZERO | NEGATIVE);
        let mut sum = WindowSum::Window { acc: [0; LIMBS], base: i16::MAX, flags };
        let impossible = LIMBS == 2 && flags & ADDED == 0 && head != 0;
        if flags & !Self::KNOWN_FLAGS != 0 || impossible || head & (NOT_ZERO | NEGATIVE) == NEGATIVE {
            return Err(format!("the flags {head:#04x} of a sum"));
        }
        if head & NOT_ZERO == 0 {
            return Ok(sum);
        }
        let exponent = i32::from(i16::from_le_bytes(bytes.array()?));
        let length = bytes.varint()?;
        let position = exponent - Self::FLOOR;
        // One bit is the sign.
        let room = 64 * SPILL as i64 - 1 - i64::from(position);
        if position < 0 || length > 8 * SPILL as u64 {
            return Err(format!("{length} bytes of a sum at 2^{exponent}"));
        }
        let magnitude = bytes.take(length as usize)?;
        let mut limbs = [0u64; SPILL];
        for (index, &byte) in magnitude.iter().enumerate() {
            limbs[index / 8] |= u64::from(byte) << (8 * (index % 8));
        }
        let canonical = limbs[0] & 1 == 1 && magnitude.last().is_some_and(|&byte| byte != 0);
        if !canonical || bit_length(&limbs) as i64 > room {
            return Err(format!("a sum's magnitude at 2^{exponent}"));
        }
        let negative = head & NEGATIVE != 0;
        match limbs.split_first_chunk::<LIMBS>() {
            Some((low, high)) if bit_length(high) == 0 && bit_length(low) <= Self::USED => {
                sum.absorb(low, exponent, negative);
            }
            _ => sum.spill().add(&limbs, position, negative),
        }
        Ok(sum)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            WindowSum::Window { .. } => 0,
            WindowSum::Spilled(_) => size_of::<Spill<SPILL>>(),
        }
    }
}

impl<const SPILL: usize> Spill<SPILL> {
    /// Adds ±magnitude << position.
    fn add(&mut self, magnitude: &[u64], position: i32, negative: bool) {
        let position = usize::try_from(position).expect("invariant: no term has bits below the floor");
        let (word, bit) = (position / 64, position % 64);
        let mask = if negative { u64::MAX } else { 0 };
        // Two's complement: −t = !t + 1, and below the term's lowest limb the one is carried through.
        let (mut carry, mut low) = (negative, 0);
        for (index, limb) in self.limbs[word..].iter_mut().enumerate() {
            let current = magnitude.get(index).copied().unwrap_or(0);
            let shifted = current << bit | low;
            low = if bit == 0 { 0 } else { current >> (64 - bit) };
            if index > magnitude.len() && carry == negative {
                // Nothing but sign is left to add, and it changes nothing.
                break;
            }
            (*limb, carry) = limb.carrying_add(shifted ^ mask, carry);
        }
    }
}

//! Natural numbers of any size, as far as exact sums need them: formed exactly, rounded to an f64 once.
//!
//! Numbers are little-endian limbs of 64 bits. [`round`] and [`round_quotient`] round to nearest, ties to even, over the whole
//! range of an f64, subnormals and overflow to ∞ included.

use std::cmp::Ordering;

/// The position of the highest set bit, plus one; 0 for zero.
pub(super) fn bit_length(limbs: &[u64]) -> usize {
    limbs
        .iter()
        .rposition(|&limb| limb != 0)
        .map_or(0, |top| 64 * top + 64 - limbs[top].leading_zeros() as usize)
}

/// The position of the lowest set bit; 0 for zero.
pub(super) fn trailing_zeros(limbs: &[u64]) -> usize {
    let low = limbs.iter().position(|&limb| limb != 0);
    low.map_or(0, |low| 64 * low + limbs[low].trailing_zeros() as usize)
}

/// The 64 bits from a position on.
fn bits_at(limbs: &[u64], position: usize) -> u64 {
    let (word, bit) = (position / 64, position % 64);
    let limb = |index: usize| limbs.get(index).copied().unwrap_or(0);
    let high = if bit == 0 { 0 } else { limb(word + 1) << (64 - bit) };
    limb(word) >> bit | high
}

/// The f64 nearest to ±limbs · 2^exponent; never −0.
pub(super) fn round(negative: bool, limbs: &[u64], exponent: i64) -> f64 {
    let length = bit_length(limbs);
    if length == 0 {
        return 0.0;
    }
    let top = length as i64 - 1 + exponent;
    if top > 1023 {
        return if negative { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    // The exponent of the result's last bit.
    let unit = (top - 52).max(-1074);
    let mantissa = if unit <= exponent {
        limbs[0] << (exponent - unit)
    } else {
        let cut = (unit - exponent) as usize;
        let kept = if cut < length { bits_at(limbs, cut) } else { 0 };
        let half = bits_at(limbs, cut - 1) & 1 == 1;
        let below = trailing_zeros(limbs) < cut - 1;
        kept + u64::from(half && (below || kept & 1 == 1))
    };
    // The hidden bit adds one to the exponent field, and so does a mantissa that was rounded up to the next power of two.
    let bits = ((unit + 1074) as u64) << 52;
    f64::from_bits((bits + mantissa) | u64::from(negative) << 63) + 0.0
}

/// A natural number; its highest limb isn't zero.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Natural(Vec<u64>);

impl Natural {
    pub(super) fn new(mut limbs: Vec<u64>) -> Natural {
        limbs.truncate(limbs.iter().rposition(|&limb| limb != 0).map_or(0, |top| top + 1));
        Natural(limbs)
    }

    pub(super) fn of(number: u128) -> Natural {
        Natural::new(vec![number as u64, (number >> 64) as u64])
    }

    /// 10^exponent, for exponents up to 38.
    pub(super) fn power_of_ten(exponent: u32) -> Natural {
        Natural::of(10u128.pow(exponent))
    }

    pub(super) fn limbs(&self) -> &[u64] {
        &self.0
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn bit_length(&self) -> usize {
        bit_length(&self.0)
    }

    fn compare(&self, other: &Natural) -> Ordering {
        let by_limbs = || self.0.iter().rev().cmp(other.0.iter().rev());
        self.0.len().cmp(&other.0.len()).then_with(by_limbs)
    }

    pub(super) fn times(&self, other: &Natural) -> Natural {
        let mut product = vec![0u64; self.0.len() + other.0.len()];
        for (i, &left) in self.0.iter().enumerate() {
            let mut carry = 0;
            for (j, &right) in other.0.iter().enumerate() {
                (product[i + j], carry) = left.carrying_mul_add(right, product[i + j], carry);
            }
            product[i + other.0.len()] = carry;
        }
        Natural::new(product)
    }

    pub(super) fn shifted_left(&self, bits: usize) -> Natural {
        if self.is_zero() {
            return Natural::default();
        }
        let (words, bits) = (bits / 64, bits % 64);
        let mut limbs = vec![0; words];
        let mut low = 0;
        for &limb in &self.0 {
            limbs.push(limb << bits | low);
            low = if bits == 0 { 0 } else { limb >> (64 - bits) };
        }
        limbs.push(low);
        Natural::new(limbs)
    }

    fn shifted_right(&self, bits: usize) -> Natural {
        let limbs =
            (0..self.0.len().saturating_sub(bits / 64)).map(|word| bits_at(&self.0, bits + 64 * word));
        Natural::new(limbs.collect())
    }

    fn plus(&self, other: &Natural) -> Natural {
        let (long, short) = if self.0.len() >= other.0.len() { (self, other) } else { (other, self) };
        let mut carry = false;
        let mut limbs = long.0.clone();
        for (index, limb) in limbs.iter_mut().enumerate() {
            (*limb, carry) = limb.carrying_add(short.0.get(index).copied().unwrap_or(0), carry);
        }
        limbs.push(u64::from(carry));
        Natural::new(limbs)
    }

    /// `self − other`, where `other` isn't greater.
    fn minus(&self, other: &Natural) -> Natural {
        let mut borrow = false;
        let mut limbs = self.0.clone();
        for (index, limb) in limbs.iter_mut().enumerate() {
            (*limb, borrow) = limb.borrowing_sub(other.0.get(index).copied().unwrap_or(0), borrow);
        }
        debug_assert!(!borrow, "invariant: the smaller number is taken from the greater");
        Natural::new(limbs)
    }

    /// Quotient and remainder. Source: Knuth, The Art of Computer Programming 2, 4.3.1, algorithm D.
    fn divided_by(&self, divisor: &Natural) -> (Natural, Natural) {
        assert!(!divisor.is_zero(), "invariant: nothing is divided by zero");
        if self.compare(divisor) == Ordering::Less {
            return (Natural::default(), self.clone());
        }
        if let [divisor] = divisor.0[..] {
            let mut remainder = 0u128;
            let mut quotient = self.0.clone();
            for limb in quotient.iter_mut().rev() {
                let part = remainder << 64 | u128::from(*limb);
                *limb = (part / u128::from(divisor)) as u64;
                remainder = part % u128::from(divisor);
            }
            return (Natural::new(quotient), Natural::of(remainder));
        }
        // D1: the divisor's highest bit set, so that a quotient limb guessed from its two highest limbs is nearly right.
        let shift = divisor.0[divisor.0.len() - 1].leading_zeros() as usize;
        let divisor = divisor.shifted_left(shift).0;
        let mut rest = self.shifted_left(shift).0;
        rest.resize(self.0.len() + 1, 0);
        let n = divisor.len();
        let (first, second) = (u128::from(divisor[n - 1]), u128::from(divisor[n - 2]));
        let mut quotient = vec![0; rest.len() - n];
        for at in (0..quotient.len()).rev() {
            // D3: guess, at most one too much after this loop.
            let head = u128::from(rest[at + n]) << 64 | u128::from(rest[at + n - 1]);
            let (mut guess, mut left) = (head / first, head % first);
            while guess >> 64 != 0 || guess * second > (left << 64 | u128::from(rest[at + n - 2])) {
                guess -= 1;
                left += first;
                if left >> 64 != 0 {
                    break;
                }
            }
            // D4: subtract guess · divisor.
            let (mut carry, mut borrow) = (0, false);
            for (index, &limb) in divisor.iter().enumerate() {
                let product;
                (product, carry) = (guess as u64).carrying_mul(limb, carry);
                (rest[at + index], borrow) = rest[at + index].borrowing_sub(product, borrow);
            }
            (rest[at + n], borrow) = rest[at + n].borrowing_sub(carry, borrow);
            // D6: it was one too much.
            if borrow {
                guess -= 1;
                let mut carry = false;
                for (index, &limb) in divisor.iter().enumerate() {
                    (rest[at + index], carry) = rest[at + index].carrying_add(limb, carry);
                }
                rest[at + n] = rest[at + n].wrapping_add(u64::from(carry));
            }
            quotient[at] = guess as u64;
        }
        (Natural::new(quotient), Natural::new(rest).shifted_right(shift))
    }
}

/// A whole number times a power of two: ±magnitude · 2^exponent.
#[derive(Debug, Clone, Default)]
pub(super) struct Exact {
    pub(super) negative: bool,
    pub(super) magnitude: Natural,
    pub(super) exponent: i64,
}

impl Exact {
    pub(super) fn of(number: u64) -> Exact {
        Exact { negative: false, magnitude: Natural::of(number.into()), exponent: 0 }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.magnitude.is_zero()
    }

    pub(super) fn times(&self, other: &Exact) -> Exact {
        Exact {
            negative: self.negative != other.negative,
            magnitude: self.magnitude.times(&other.magnitude),
            exponent: self.exponent + other.exponent,
        }
    }

    pub(super) fn minus(&self, other: &Exact) -> Exact {
        if self.is_zero() {
            return Exact { negative: !other.negative, ..other.clone() };
        }
        if other.is_zero() {
            return self.clone();
        }
        let exponent = self.exponent.min(other.exponent);
        let left = self.magnitude.shifted_left((self.exponent - exponent) as usize);
        let right = other.magnitude.shifted_left((other.exponent - exponent) as usize);
        let (negative, magnitude) = if self.negative != other.negative {
            (self.negative, left.plus(&right))
        } else if left.compare(&right) == Ordering::Less {
            (!self.negative, right.minus(&left))
        } else {
            (self.negative, left.minus(&right))
        };
        Exact { negative, magnitude, exponent }
    }

    /// The f64 nearest to `self / divisor`, which isn't zero.
    pub(super) fn round_quotient(&self, divisor: &Exact) -> f64 {
        let (quotient, exponent) = self.quotient(divisor);
        round(self.negative != divisor.negative, quotient.limbs(), exponent)
    }

    /// √(self / divisor) of two numbers of one sign: the quotient is cut to an f64's precision (not its range) and its root
    /// rounded, so within one unit in the last place.
    pub(super) fn root_of_quotient(&self, divisor: &Exact) -> f64 {
        let (quotient, exponent) = self.quotient(divisor);
        if quotient.is_zero() {
            return 0.0;
        }
        // As mantissa · 2^even, with the mantissa in [1, 4): its root is exact in range, whatever the exponent.
        let top = quotient.bit_length() as i64 - 1 + exponent;
        let even = top.div_euclid(2) * 2;
        let root = round(false, quotient.limbs(), exponent - even).sqrt();
        let bits = root.to_bits();
        let mantissa = bits & ((1 << 52) - 1) | 1 << 52;
        let root_exponent = (bits >> 52) as i64 - 1075;
        round(false, &[mantissa], root_exponent + even / 2)
    }

    /// At least 66 bits of |self / divisor|, the last one set if anything is cut off, and their exponent.
    fn quotient(&self, divisor: &Exact) -> (Natural, i64) {
        let (length, divisor_length) = (self.magnitude.bit_length(), divisor.magnitude.bit_length());
        let shift = (divisor_length + 66).saturating_sub(length);
        let (quotient, rest) = self.magnitude.shifted_left(shift).divided_by(&divisor.magnitude);
        let mut limbs = quotient.0;
        if let Some(low) = limbs.first_mut() {
            *low |= u64::from(!rest.is_zero());
        }
        (Natural::new(limbs), self.exponent - divisor.exponent - shift as i64)
    }
}

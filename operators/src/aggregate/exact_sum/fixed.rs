//! Integers of a fixed number of limbs, the low one first, without heap: what a window computes with.

use crate::aggregate::limbs::{bit_length, trailing_zeros};

/// magnitude << shift, which fits.
#[inline(always)]
pub(super) fn placed<const LIMBS: usize>(magnitude: u128, shift: u32) -> [u64; LIMBS] {
    let mut limbs = [0; LIMBS];
    if LIMBS == 2 {
        let shifted = magnitude << shift;
        limbs[0] = shifted as u64;
        limbs[1] = (shifted >> 64) as u64;
    } else {
        let (word, bit) = ((shift / 64) as usize, shift % 64);
        let low = magnitude << bit;
        limbs[word] = low as u64;
        limbs[word + 1] = (low >> 64) as u64;
        if word + 2 < LIMBS {
            limbs[word + 2] = ((magnitude >> 64) >> (64 - bit)) as u64;
        }
    }
    limbs
}

/// acc ± term, in two's complement; `None` if it overflows.
#[inline(always)]
pub(super) fn add_signed<const LIMBS: usize>(
    acc: &[u64; LIMBS],
    term: &[u64; LIMBS],
    negative: bool,
) -> Option<[u64; LIMBS]> {
    let mask = u64::from(negative).wrapping_neg();
    let mut carry = negative;
    let mut sum = [0; LIMBS];
    for index in 0..LIMBS {
        (sum[index], carry) = acc[index].carrying_add(term[index] ^ mask, carry);
    }
    let top = LIMBS - 1;
    let overflow = !(acc[top] ^ term[top] ^ mask) & (acc[top] ^ sum[top]);
    if overflow >> 63 == 0 { Some(sum) } else { None }
}

/// The sign and magnitude of a number in two's complement.
pub(super) fn absolute<const N: usize>(number: &[u64; N]) -> (bool, [u64; N]) {
    let negative = number[N - 1] >> 63 == 1;
    (negative, signed(number, negative))
}

/// A number, or its negation in two's complement.
pub(super) fn signed<const N: usize>(number: &[u64; N], negative: bool) -> [u64; N] {
    if !negative {
        return *number;
    }
    let mut carry = true;
    number.map(|limb| {
        let (limb, over) = (!limb).carrying_add(0, carry);
        carry = over;
        limb
    })
}

/// magnitude · 2^exponent with an odd magnitude (or zero).
pub(super) fn odd<const N: usize>(magnitude: &[u64; N], exponent: i32) -> ([u64; N], i32) {
    let zeros = trailing_zeros(magnitude);
    let (words, bits) = (zeros / 64, zeros % 64);
    let mut limbs = [0; N];
    for index in 0..N - words {
        let high = magnitude.get(index + words + 1).copied().unwrap_or(0);
        limbs[index] = magnitude[index + words] >> bits | if bits == 0 { 0 } else { high << (64 - bits) };
    }
    (limbs, exponent + zeros as i32)
}

/// magnitude << bits, if it then has at most `used` bits.
pub(super) fn aligned<const N: usize>(magnitude: &[u64; N], bits: i32, used: usize) -> Option<[u64; N]> {
    let bits = bits as usize;
    (bit_length(magnitude) + bits <= used).then(|| shifted_left(magnitude, bits))
}

/// magnitude << bits.
pub(super) fn shifted_left<const N: usize>(magnitude: &[u64; N], bits: usize) -> [u64; N] {
    let (words, bits) = (bits / 64, bits % 64);
    let mut limbs = [0; N];
    for index in words..N {
        let low = if index > words { magnitude[index - words - 1] } else { 0 };
        limbs[index] = magnitude[index - words] << bits | if bits == 0 { 0 } else { low >> (64 - bits) };
    }
    limbs
}

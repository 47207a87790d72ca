//! `count(distinct x)` and `approx_distinct`: exact while few, HyperLogLog beyond.
//!
//! ```text
//!   value ─▶ 64-bit hash ─▶ up to 512 different hashes: the set of them             count: exact
//!                           more: 2^14 registers of the longest run of zeros        count: standard error 0.81 %
//! ```
//!
//! Both forms, and the change from one to the other, are functions of the set of hashes alone. The hash is
//! [`Key::hash`], the same on every machine; two values that share one count as one (below 512, a chance of 1 in 10^14).
//! Estimator: Ertl, New cardinality estimation algorithms for HyperLogLog sketches (arXiv 1702.01284): without bias
//! tables, and without a function that machines compute differently (its roots are IEEE 754's).

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::DataType;
use hashbrown::HashTable;

use super::Rows;
use super::bytes::{Reader, read_states, write_states};
use super::groups::{Family, Picked, Selection};
use super::values::Key;

/// Different hashes that are kept one by one.
const EXACT_MAX: usize = 512;
/// log2 of the number of registers. Standard error: 1.04 / √2^14.
const PRECISION: u32 = 14;
const REGISTERS: usize = 1 << PRECISION;
/// Bits of a hash below the register's number.
const TAIL_BITS: u32 = 64 - PRECISION;

/// The state of one group.
#[derive(Clone)]
pub(super) enum HashSet {
    Exact(HashTable<u64>),
    Registers(Box<[u8; REGISTERS]>),
}

impl Default for HashSet {
    fn default() -> HashSet {
        HashSet::Exact(HashTable::new())
    }
}

impl HashSet {
    #[inline(always)]
    fn insert(&mut self, hash: u64) {
        match self {
            HashSet::Exact(hashes) => {
                if hashes.find(hash, |&other| other == hash).is_none() {
                    hashes.insert_unique(hash, hash, |&other| other);
                    if hashes.len() > EXACT_MAX {
                        self.registers();
                    }
                }
            }
            HashSet::Registers(registers) => register(registers, hash),
        }
    }

    /// Changes to registers.
    fn registers(&mut self) -> &mut [u8; REGISTERS] {
        if let HashSet::Exact(hashes) = self {
            let mut registers = Box::new([0; REGISTERS]);
            hashes.iter().for_each(|&hash| register(&mut registers, hash));
            *self = HashSet::Registers(registers);
        }
        match self {
            HashSet::Registers(registers) => registers,
            HashSet::Exact(_) => unreachable!("invariant: it has just been changed"),
        }
    }

    fn merge(&mut self, other: &HashSet) {
        match other {
            HashSet::Exact(hashes) => hashes.iter().for_each(|&hash| self.insert(hash)),
            HashSet::Registers(other) => {
                self.registers()
                    .iter_mut()
                    .zip(other.iter())
                    .for_each(|(own, &other)| *own = (*own).max(other));
            }
        }
    }

    fn count(&self) -> i64 {
        match self {
            HashSet::Exact(hashes) => hashes.len() as i64,
            HashSet::Registers(registers) => cardinality(registers).round() as i64,
        }
    }

    /// The hashes ascending, 8 bytes each; or, where there are more than these may take, the registers.
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            HashSet::Exact(hashes) => {
                let mut hashes: Vec<u64> = hashes.iter().copied().collect();
                hashes.sort_unstable();
                out.extend(hashes.iter().flat_map(|hash| hash.to_le_bytes()));
            }
            HashSet::Registers(registers) => out.extend_from_slice(&registers[..]),
        }
    }

    fn read(bytes: &mut Reader<'_>) -> Result<HashSet, String> {
        if bytes.len() == REGISTERS {
            let registers: Box<[u8; REGISTERS]> = Box::new(bytes.array()?);
            if registers.iter().any(|&register| u32::from(register) > TAIL_BITS + 1) {
                return Err("its registers are out of range".to_owned());
            }
            return Ok(HashSet::Registers(registers));
        }
        if bytes.len() > 8 * EXACT_MAX {
            return Err(format!("{} bytes are neither hashes nor registers", bytes.len()));
        }
        let mut hashes = HashTable::with_capacity(bytes.len() / 8);
        let mut before = None;
        while !bytes.is_empty() {
            let hash = bytes.u64()?;
            if before.is_some_and(|before| before >= hash) {
                return Err("its hashes don't ascend".to_owned());
            }
            before = Some(hash);
            hashes.insert_unique(hash, hash, |&other| other);
        }
        Ok(HashSet::Exact(hashes))
    }

    fn heap_bytes(&self) -> usize {
        match self {
            HashSet::Exact(hashes) => hashes.allocation_size(),
            HashSet::Registers(_) => REGISTERS,
        }
    }
}

/// Enters a hash: its first bits say which register, the zeros that follow them what for.
#[inline(always)]
fn register(registers: &mut [u8; REGISTERS], hash: u64) {
    // The set bit ends a tail of zeros only.
    let zeros = (hash << PRECISION | 1 << (PRECISION - 1)).leading_zeros();
    let register = &mut registers[(hash >> TAIL_BITS) as usize];
    *register = (*register).max(zeros as u8 + 1);
}

/// Ertl's improved raw estimator.
fn cardinality(registers: &[u8; REGISTERS]) -> f64 {
    const TAILS: usize = TAIL_BITS as usize;
    let mut counts = [0u32; TAILS + 2];
    registers.iter().for_each(|&register| counts[usize::from(register)] += 1);
    let m = REGISTERS as f64;
    let mut z = m * tau(1.0 - f64::from(counts[TAILS + 1]) / m);
    for &count in counts[1..=TAILS].iter().rev() {
        z = 0.5 * (z + f64::from(count));
    }
    z += m * sigma(f64::from(counts[0]) / m);
    m * m / (2.0 * std::f64::consts::LN_2 * z)
}

/// Ertl's σ, for the registers still at 0: x + Σ x^(2^k) 2^(k−1).
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

/// Ertl's τ, for the registers at their limit: (1 − x − Σ (1 − x^(2^−k))² 2^−k) / 3.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

/// `count(distinct x)`. The column: Binary, as [`HashSet::write`] says.
pub(super) struct Distinct<K>(PhantomData<fn() -> K>);

impl<K> Distinct<K> {
    pub(super) fn new() -> Distinct<K> {
        Distinct(PhantomData)
    }
}

impl<K: Key> Family for Distinct<K> {
    type State = HashSet;
    const NAME: &'static str = "count(distinct)";

    fn identity(&self) -> HashSet {
        HashSet::default()
    }

    fn update(&self, states: &mut [HashSet], rows: &Rows<'_>) {
        let column = K::column(&rows.arguments[0]);
        let selection = Selection::of(rows, rows.arguments);
        selection.for_each(|row| states[rows.groups[row] as usize].insert(K::hash(K::at(&column, row))));
    }

    fn merge(&self, into: &mut HashSet, from: &HashSet) {
        into.merge(from);
    }

    fn state_type(&self) -> DataType {
        DataType::Binary
    }

    fn encode(&self, states: Picked<'_, HashSet>) -> ArrayRef {
        write_states(states, HashSet::write)
    }

    fn decode(&self, column: &ArrayRef, each: &mut dyn FnMut(usize, HashSet)) -> Result<(), String> {
        read_states(column, each, HashSet::read)
    }

    fn evaluate(&self, states: Picked<'_, HashSet>) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(states.iter().map(HashSet::count)))
    }

    fn heap_bytes(&self, state: &HashSet) -> usize {
        state.heap_bytes()
    }
}

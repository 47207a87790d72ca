//! (key, pane) → group number: the index into all accumulators of an operator.

use hashbrown::HashTable;
use thalweg_engine::watermark::EventTime;

use super::keys::Key;

/// A table of groups. Numbers are dense and used again after [`Groups::remove`].
#[derive(Default)]
pub(crate) struct Groups {
    table: HashTable<u32>,
    groups: Vec<Group>,
    free: Vec<u32>,
}

#[derive(Clone)]
struct Group {
    hash: u64,
    pane: EventTime,
    key_hash: u64,
    key: Key,
    /// Changed since the cut before.
    changed: bool,
}

impl Groups {
    /// The group of a key in a pane, and whether it is new.
    #[inline]
    pub(crate) fn find_or_insert(&mut self, key_hash: u64, key: &[u8], pane: EventTime) -> (u32, bool) {
        let hash = mix(key_hash, pane);
        let found = self.table.find(hash, |at| {
            let group = &self.groups[*at as usize];
            group.hash == hash && group.pane == pane && *group.key == *key
        });
        match found {
            Some(at) => (*at, false),
            None => (self.insert(hash, key_hash, key, pane), true),
        }
    }

    #[cold]
    fn insert(&mut self, hash: u64, key_hash: u64, key: &[u8], pane: EventTime) -> u32 {
        let group = Group { hash, pane, key_hash, key: key.into(), changed: false };
        let at = match self.free.pop() {
            Some(at) => {
                self.groups[at as usize] = group;
                at
            }
            None => {
                self.groups.push(group);
                u32::try_from(self.groups.len() - 1)
                    .expect("invariant: fewer than 2^32 groups fit into memory")
            }
        };
        let groups = &self.groups;
        self.table.insert_unique(hash, at, |at| groups[*at as usize].hash);
        at
    }

    /// Forgets a group; its number will be given out again.
    pub(crate) fn remove(&mut self, at: u32) {
        let hash = self.groups[at as usize].hash;
        if let Ok(entry) = self.table.find_entry(hash, |other| *other == at) {
            entry.remove();
            self.groups[at as usize].key = Key::default();
            self.groups[at as usize].changed = false;
            self.free.push(at);
        }
    }

    /// Marks a group as changed; whether it was not marked before.
    #[inline]
    pub(crate) fn mark_changed(&mut self, at: u32) -> bool {
        !std::mem::replace(&mut self.groups[at as usize].changed, true)
    }

    /// Whether a group that was marked is still that, and takes the mark away. One that was removed is not, whoever has its number.
    pub(crate) fn take_changed(&mut self, at: u32) -> bool {
        std::mem::take(&mut self.groups[at as usize].changed)
    }

    /// Whether there is a group of a key in a pane.
    pub(crate) fn contains(&self, key_hash: u64, key: &[u8], pane: EventTime) -> bool {
        let hash = mix(key_hash, pane);
        let is = |at: &u32| {
            let group = &self.groups[*at as usize];
            group.hash == hash && group.pane == pane && *group.key == *key
        };
        self.table.find(hash, is).is_some()
    }

    /// One more than the highest group number given out.
    pub(crate) fn capacity(&self) -> usize {
        self.groups.len()
    }

    /// Groups held.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn key(&self, at: u32) -> &[u8] {
        &self.groups[at as usize].key
    }

    pub(crate) fn key_hash(&self, at: u32) -> u64 {
        self.groups[at as usize].key_hash
    }

    pub(crate) fn pane(&self, at: u32) -> EventTime {
        self.groups[at as usize].pane
    }
}

#[inline]
fn mix(key_hash: u64, pane: EventTime) -> u64 {
    // Fibonacci hashing's multiplier: a pane's start differs from the next one's in few, low bits.
    (key_hash ^ pane as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (key_hash >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_group_a_pane_and_numbers_are_used_again() {
        let mut groups = Groups::default();
        let (a0, new) = groups.find_or_insert(1, b"a", 0);
        assert!(new);
        let (a1, _) = groups.find_or_insert(1, b"a", 60);
        // Another key with the same hash is another group.
        let (b0, new) = groups.find_or_insert(1, b"b", 0);
        assert!(new && a0 != a1 && a0 != b0);
        assert_eq!(groups.find_or_insert(1, b"a", 0), (a0, false));
        groups.remove(a0);
        assert_eq!(groups.len(), 2);
        assert_eq!(groups.find_or_insert(7, b"c", 60), (a0, true));
        assert_eq!((groups.key(a0), groups.key_hash(a0), groups.pane(a0)), (b"c".as_slice(), 7, 60));
        assert_eq!(groups.capacity(), 3);
    }
}

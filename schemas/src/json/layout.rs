//! A schema as the decoder walks it: a trie of keys, whose leaves are the fields.
//!
//! ```text
//!   { "at": 1, "user": { "id": "u7" }, "gpus": [ { "load": 3 }, { "load": 4 } ] }
//!
//!   root ─┬─ at     Leaf, a column
//!         ├─ user   Object ─── id    Leaf, a column
//!         └─ gpus   Group  ─── load  Leaf, a list column, an element for each object of the array
//! ```

use crate::field::{FieldType, TimestampEncoding};
use crate::schema::{GROUP_MARK, Schema};

/// A place in the trie.
pub(super) type NodeId = u32;

/// The payload's own object.
pub(super) const ROOT: NodeId = 0;

/// No node: an unknown key, or no guess.
pub(super) const NONE: NodeId = NodeId::MAX;

/// The trie, flat.
#[derive(Debug)]
pub(super) struct Layout {
    kinds: Vec<Kind>,
    keys: Vec<Key>,
    plain: Vec<Plain>,
    children: Vec<Children>,
    /// What every row must settle: the leaves and groups that lie in no group.
    slots: Vec<NodeId>,
    /// The leaves of each group.
    gathered: Vec<Vec<NodeId>>,
}

/// What a key leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An object with further fields.
    Object,
    /// An array of objects with further fields. The number is that of its list in [`Layout::gathered`].
    Group(u32),
    /// A field's value.
    Leaf(Leaf),
}

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) scalar: Scalar,
    pub(super) shape: Shape,
    pub(super) required: bool,
    /// Index of its column among the decoder's, `u32::MAX` if it is only checked.
    pub(super) column: u32,
}

/// How many values a leaf has in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One.
    Single,
    /// An array of them.
    List,
    /// One in every object of a group.
    Gathered,
}

/// A scalar, and how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Bool,
    Int64,
    UInt64,
    Float64,
    Decimal {
        scale: u8,
    },
    String,
    /// A number that counts 10^power microseconds.
    Epoch {
        power: i8,
    },
    Rfc3339,
}

#[derive(Debug)]
struct Key {
    /// The whole path, for messages.
    path: String,
    key: Box<[u8]>,
}

/// Bytes that [`Plain`] compares at once.
const HEAD_BYTES: usize = 24;

/// A key and its closing quote as they stand in a payload; empty where a payload writes it with escapes.
#[derive(Debug)]
struct Plain {
    /// The first bytes as words, and ones where they count: three comparisons that need no loop.
    head: [u64; HEAD_BYTES / 8],
    mask: [u64; HEAD_BYTES / 8],
    bytes: Box<[u8]>,
}

impl Plain {
    fn new(key: &str) -> Plain {
        let escaped = key.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
        let bytes = if escaped { String::new() } else { format!("{key}\"") }.into_bytes();
        let (mut head, mut mask) = ([0; HEAD_BYTES], [0; HEAD_BYTES]);
        for (i, byte) in bytes.iter().enumerate().take(HEAD_BYTES) {
            (head[i], mask[i]) = (*byte, u8::MAX);
        }
        Plain { head: words(&head), mask: words(&mask), bytes: bytes.into() }
    }

    /// Whether `rest` begins with it.
    #[inline(always)]
    fn matches(&self, rest: &[u8]) -> bool {
        let Some(found) = rest.first_chunk::<HEAD_BYTES>() else {
            return !self.bytes.is_empty() && rest.starts_with(&self.bytes);
        };
        let found = words(found);
        let differing = (0..found.len()).fold(0, |bits, i| bits | (found[i] ^ self.head[i]) & self.mask[i]);
        differing == 0
            && !self.bytes.is_empty()
            && (self.bytes.len() <= HEAD_BYTES || rest.starts_with(&self.bytes))
    }
}

#[inline(always)]
fn words(bytes: &[u8; HEAD_BYTES]) -> [u64; HEAD_BYTES / 8] {
    let (chunks, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|i| u64::from_le_bytes(chunks[i]))
}

/// An object's keys by their hash: open addressing, at most half full, `NONE` where empty.
#[derive(Debug, Default)]
struct Children {
    nodes: Vec<NodeId>,
    table: Vec<NodeId>,
}

impl Layout {
    /// The layout of a schema whose field number i goes to column `columns[i]`, or to none.
    pub(super) fn new(schema: &Schema, columns: &[Option<usize>]) -> Layout {
        let mut layout = Layout {
            kinds: Vec::new(),
            keys: Vec::new(),
            plain: Vec::new(),
            children: Vec::new(),
            slots: Vec::new(),
            gathered: Vec::new(),
        };
        layout.add(String::new(), "", Kind::Object);
        for (field, column) in schema.fields.iter().zip(columns) {
            let mut parent = ROOT;
            let mut group = None;
            for (i, segment) in field.path.iter().enumerate() {
                let path = field.path[..=i].join(".");
                let is_last = i + 1 == field.path.len();
                parent = match segment.strip_suffix(GROUP_MARK) {
                    Some(key) if !is_last => {
                        let node = layout.child_or(parent, path, key, |layout| {
                            layout.gathered.push(Vec::new());
                            Kind::Group(layout.gathered.len() as u32 - 1)
                        });
                        group = Some(node);
                        node
                    }
                    _ if is_last => {
                        let (element, shape) = match &field.field_type {
                            FieldType::List(element) if group.is_some() => (&**element, Shape::Gathered),
                            FieldType::List(element) => (&**element, Shape::List),
                            single => (single, Shape::Single),
                        };
                        let column = column.map_or(u32::MAX, |column| column as u32);
                        let leaf = Leaf { scalar: scalar(element), shape, required: field.required, column };
                        layout.child_or(parent, path, segment, |_| Kind::Leaf(leaf))
                    }
                    _ => layout.child_or(parent, path, segment, |_| Kind::Object),
                };
            }
            match group.map(|group| layout.kinds[group as usize]) {
                Some(Kind::Group(number)) => layout.gathered[number as usize].push(parent),
                _ => layout.slots.push(parent),
            }
        }
        let groups = (ROOT..layout.kinds.len() as NodeId).filter(|node| layout.group(*node).is_some());
        let groups: Vec<NodeId> = groups.collect();
        layout.slots.extend(groups);
        for children in &mut layout.children {
            children.index(&layout.keys);
        }
        layout
    }

    fn add(&mut self, path: String, key: &str, kind: Kind) -> NodeId {
        self.kinds.push(kind);
        self.keys.push(Key { path, key: key.as_bytes().into() });
        self.plain.push(Plain::new(key));
        self.children.push(Children::default());
        self.kinds.len() as NodeId - 1
    }

    /// The child of that key, which is added if there is none.
    fn child_or(
        &mut self,
        parent: NodeId,
        path: String,
        key: &str,
        kind: impl FnOnce(&mut Layout) -> Kind,
    ) -> NodeId {
        let siblings = &self.children[parent as usize].nodes;
        let known = siblings.iter().find(|node| *self.keys[**node as usize].key == *key.as_bytes());
        if let Some(node) = known {
            return *node;
        }
        let kind = kind(self);
        let node = self.add(path, key, kind);
        self.children[parent as usize].nodes.push(node);
        node
    }

    /// How many nodes there are: their ids are 0 to this.
    pub(super) fn nodes(&self) -> usize {
        self.kinds.len()
    }

    #[inline(always)]
    pub(super) fn kind(&self, node: NodeId) -> Kind {
        self.kinds[node as usize]
    }

    /// Whether `rest` begins with the key of `node` as it is commonly written, closing quote included; its length if so.
    #[inline(always)]
    pub(super) fn matches(&self, node: NodeId, rest: &[u8]) -> Option<usize> {
        let plain = self.plain.get(node as usize)?;
        plain.matches(rest).then_some(plain.bytes.len())
    }

    /// The child of `object` with that key, unescaped; [`NONE`] if the schema knows none.
    pub(super) fn child(&self, object: NodeId, key: &[u8]) -> NodeId {
        let table = &self.children[object as usize].table;
        let mut slot = hash(key) as usize & (table.len() - 1);
        loop {
            let node = table[slot];
            if node == NONE || *self.keys[node as usize].key == *key {
                return node;
            }
            slot = (slot + 1) & (table.len() - 1);
        }
    }

    /// An object's known keys, in the schema's order.
    pub(super) fn children(&self, object: NodeId) -> &[NodeId] {
        &self.children[object as usize].nodes
    }

    /// What every row must settle.
    #[inline(always)]
    pub(super) fn slots(&self) -> &[NodeId] {
        &self.slots
    }

    /// The leaves of a group, if the node is one.
    pub(super) fn group(&self, node: NodeId) -> Option<&[NodeId]> {
        match self.kind(node) {
            Kind::Group(number) => Some(&self.gathered[number as usize]),
            _ => None,
        }
    }

    /// The node's path, for messages.
    pub(super) fn path(&self, node: NodeId) -> &str {
        &self.keys[node as usize].path
    }

    /// What may stand at the node, for messages.
    pub(super) fn expected(&self, node: NodeId) -> String {
        let leaf = match self.kind(node) {
            Kind::Object => return "an object".to_owned(),
            Kind::Group(_) => return "an array of objects".to_owned(),
            Kind::Leaf(leaf) => leaf,
        };
        let one = match leaf.scalar {
            Scalar::Bool => "true or false",
            Scalar::Int64 => "a whole number",
            Scalar::UInt64 => "a whole number from 0 on",
            Scalar::Float64 => "a number",
            Scalar::Decimal { .. } => "a number",
            Scalar::String => "a string",
            Scalar::Epoch { .. } => "a timestamp as a number since the epoch",
            Scalar::Rfc3339 => "a timestamp like \"2026-01-31T12:00:00Z\"",
        };
        match leaf.shape {
            Shape::Single | Shape::Gathered => one.to_owned(),
            Shape::List => format!("an array, each element {one}"),
        }
    }

    /// What the node's column can hold, for messages.
    pub(super) fn range(&self, node: NodeId) -> String {
        let Kind::Leaf(leaf) = self.kind(node) else {
            return "its range".to_owned();
        };
        match leaf.scalar {
            Scalar::Int64 => "int64, ±9.2e18".to_owned(),
            Scalar::UInt64 => "uint64, 0 to 1.8e19".to_owned(),
            Scalar::Decimal { scale } => {
                format!("decimal({scale}), 18 digits of which {scale} behind the point")
            }
            Scalar::Epoch { .. } => "the times that 64 bits of microseconds hold".to_owned(),
            Scalar::Rfc3339 => "the times that exist from year 0001 to 9999".to_owned(),
            Scalar::Bool | Scalar::Float64 | Scalar::String => "float64, ±1.8e308".to_owned(),
        }
    }
}

impl Children {
    fn index(&mut self, keys: &[Key]) {
        let size = (self.nodes.len() * 2).next_power_of_two();
        self.table = vec![NONE; size.max(2)];
        for node in &self.nodes {
            let mut slot = hash(&keys[*node as usize].key) as usize & (self.table.len() - 1);
            while self.table[slot] != NONE {
                slot = (slot + 1) & (self.table.len() - 1);
            }
            self.table[slot] = *node;
        }
    }
}

/// FNV-1a (Fowler, Noll, Vo). Only the schema's own keys are in the tables, so that no payload can make them slow.
fn hash(key: &[u8]) -> u64 {
    key.iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

fn scalar(field_type: &FieldType) -> Scalar {
    match field_type {
        FieldType::Bool => Scalar::Bool,
        FieldType::Int64 => Scalar::Int64,
        FieldType::UInt64 => Scalar::UInt64,
        FieldType::Float64 => Scalar::Float64,
        FieldType::Decimal { scale } => Scalar::Decimal { scale: *scale },
        FieldType::String => Scalar::String,
        FieldType::Timestamp(TimestampEncoding::Seconds) => Scalar::Epoch { power: 6 },
        FieldType::Timestamp(TimestampEncoding::Millis) => Scalar::Epoch { power: 3 },
        FieldType::Timestamp(TimestampEncoding::Micros) => Scalar::Epoch { power: 0 },
        FieldType::Timestamp(TimestampEncoding::Nanos) => Scalar::Epoch { power: -3 },
        FieldType::Timestamp(TimestampEncoding::Rfc3339) => Scalar::Rfc3339,
        FieldType::List(_) => panic!("invariant: Schema::check refuses lists of lists"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_matches_its_own_bytes_only() {
        for length in 1..60 {
            let key = "k".repeat(length);
            let plain = Plain::new(&key);
            for tail in ["", ":1}", ":\"a value that fills more than a head\"}"] {
                assert!(plain.matches(format!("{key}\"{tail}").as_bytes()), "{length} {tail}");
                assert!(!plain.matches(format!("{key}k\"{tail}").as_bytes()), "{length} {tail}");
                assert!(!plain.matches(format!("{}\"{tail}", &key[1..]).as_bytes()), "{length} {tail}");
                assert!(!plain.matches(format!("{}x\"{tail}", &key[1..]).as_bytes()), "{length} {tail}");
            }
            assert!(!plain.matches(key.as_bytes()));
        }
        assert!(Plain::new("").matches(b"\": and so on, for more than a head"));
        assert!(!Plain::new("a\\b").matches(br#"a\b": and so on, for more than a head"#));
    }
}

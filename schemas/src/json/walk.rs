//! The walk over one payload along the layout: keys to nodes, values to columns.

use super::cursor::{Cursor, Text};
use super::fault::Fault;
use super::layout::{Kind, Layout, Leaf, NONE, NodeId, ROOT, Scalar, Shape};
use super::number::{Number, NumberFault};
use crate::column::Column;
use crate::time::{self, TimeFault};

/// What a walk keeps for the next one. None of it shows in a row.
#[derive(Debug)]
pub(super) struct Memory {
    /// For each object the key it began with last time.
    first: Vec<NodeId>,
    /// For each key the one that followed it last time.
    next: Vec<NodeId>,
    /// For each node the object instance (see `stamp`) in which it was met last: equal to the current one, it is met twice.
    stamps: Vec<u64>,
    /// The number of the newest row, or of the newest element of a group.
    stamp: u64,
}

impl Memory {
    /// To begin with, keys are expected in the schema's order.
    pub(super) fn new(layout: &Layout) -> Memory {
        let nodes = layout.nodes();
        let mut memory =
            Memory { first: vec![NONE; nodes], next: vec![NONE; nodes], stamps: vec![0; nodes], stamp: 0 };
        for object in ROOT..nodes as NodeId {
            let children = layout.children(object);
            memory.first[object as usize] = children.first().copied().unwrap_or(NONE);
            for pair in children.windows(2) {
                memory.next[pair[0] as usize] = pair[1];
            }
        }
        memory
    }

    fn fresh_stamp(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }
}

/// A walk over one payload.
pub(super) struct Walk<'a> {
    cursor: Cursor<'a>,
    layout: &'a Layout,
    memory: &'a mut Memory,
    columns: &'a mut [Column],
    /// How many of the layout's slots have got their value.
    settled: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        cursor: Cursor<'a>,
        layout: &'a Layout,
        memory: &'a mut Memory,
        columns: &'a mut [Column],
    ) -> Walk<'a> {
        Walk { cursor, layout, memory, columns, settled: 0 }
    }

    /// Appends the payload's row to the columns. After a fault they have to be cut back.
    #[inline]
    pub(super) fn row(&mut self) -> Result<(), Fault> {
        self.cursor.space();
        if self.cursor.byte() != b'{' {
            return Err(self.not_an_object());
        }
        self.cursor.at += 1;
        let stamp = self.memory.fresh_stamp();
        self.object(ROOT, stamp, 1)?;
        self.end()?;
        if self.settled < self.layout.slots().len() {
            self.settle_absent(stamp)?;
        }
        Ok(())
    }

    /// Checks that nothing but white space follows.
    #[inline]
    fn end(&mut self) -> Result<(), Fault> {
        self.cursor.space();
        if self.cursor.at < self.cursor.bytes.len() {
            return Err(self.cursor.syntax("expected nothing behind the object"));
        }
        Ok(())
    }

    #[cold]
    fn not_an_object(&mut self) -> Fault {
        let start = self.cursor.at;
        if let Err(fault) = self.cursor.skip_value(0) {
            return fault;
        }
        let end = self.cursor.at;
        self.end().err().unwrap_or(Fault::NotAnObject { start, end })
    }

    /// Walks an object, whose brace was just passed, and whose keys are met for the first time under `stamp`.
    fn object(&mut self, object: NodeId, stamp: u64, depth: u32) -> Result<(), Fault> {
        let mut previous = NONE;
        let mut guess = self.memory.first[object as usize];
        self.cursor.space();
        if self.cursor.byte() == b'}' {
            self.cursor.at += 1;
            return Ok(());
        }
        loop {
            self.cursor.expect(b'"', "expected a key in double quotes")?;
            let node = match self.layout.matches(guess, &self.cursor.bytes[self.cursor.at..]) {
                Some(length) => {
                    self.cursor.at += length;
                    guess
                }
                None => self.look_up(object, previous)?,
            };
            self.cursor.space();
            self.cursor.expect(b':', "expected :")?;
            self.cursor.space();
            if node == NONE {
                self.cursor.skip_value(depth)?;
            } else {
                if self.memory.stamps[node as usize] == stamp {
                    return Err(Fault::Duplicate { node });
                }
                self.memory.stamps[node as usize] = stamp;
                match self.layout.kind(node) {
                    Kind::Leaf(leaf) => self.leaf(node, leaf)?,
                    Kind::Object => self.nested(node, stamp, depth)?,
                    Kind::Group(_) => self.group(node, depth)?,
                }
                previous = node;
                guess = self.memory.next[node as usize];
            }
            self.cursor.space();
            match self.cursor.byte() {
                b',' => self.cursor.at += 1,
                b'}' => {
                    self.cursor.at += 1;
                    return Ok(());
                }
                _ => return Err(self.cursor.syntax("expected , or }")),
            }
            self.cursor.space();
        }
    }

    /// Reads a key that was not guessed, whose opening quote was just passed, and remembers it as the next guess.
    #[inline(never)]
    fn look_up(&mut self, object: NodeId, previous: NodeId) -> Result<NodeId, Fault> {
        self.cursor.at -= 1;
        let key = self.cursor.string()?;
        let node = if key.escaped {
            self.layout.child(object, &key.unescaped())
        } else {
            self.layout.child(object, key.bytes)
        };
        if node != NONE {
            match previous {
                NONE => self.memory.first[object as usize] = node,
                _ => self.memory.next[previous as usize] = node,
            }
        }
        Ok(node)
    }

    /// Walks an object on the way to fields; null is as good as absent.
    fn nested(&mut self, node: NodeId, stamp: u64, depth: u32) -> Result<(), Fault> {
        match self.cursor.byte() {
            b'{' => {
                self.cursor.at += 1;
                self.object(node, stamp, depth + 1)
            }
            b'n' => self.cursor.literal("null"),
            _ => Err(self.mistyped(node)),
        }
    }

    /// Walks an array of objects: every field below it gets one element for each of them.
    fn group(&mut self, group: NodeId, depth: u32) -> Result<(), Fault> {
        let layout = self.layout;
        let leaves = layout.group(group).unwrap_or_default();
        self.settled += 1;
        match self.cursor.byte() {
            b'[' => self.cursor.at += 1,
            b'n' => {
                self.cursor.literal("null")?;
                return leaves.iter().try_for_each(|leaf| self.absent(*leaf, true));
            }
            _ => return Err(self.mistyped(group)),
        }
        self.cursor.space();
        if self.cursor.byte() == b']' {
            self.cursor.at += 1;
        } else {
            loop {
                let stamp = self.memory.fresh_stamp();
                match self.cursor.byte() {
                    b'{' => {
                        self.cursor.at += 1;
                        self.object(group, stamp, depth + 2)?;
                    }
                    b'n' => self.cursor.literal("null")?,
                    _ => return Err(self.mistyped(group)),
                }
                for node in leaves {
                    if self.memory.stamps[*node as usize] != stamp
                        && let Some(column) = self.column_of(*node)
                    {
                        column.elements().push_null();
                    }
                }
                if !self.next_element()? {
                    break;
                }
            }
        }
        for node in leaves {
            if let Some(column) = self.column_of(*node) {
                column.close_list();
            }
        }
        Ok(())
    }

    /// Moves on to the next element of an array; `false` behind its end.
    fn next_element(&mut self) -> Result<bool, Fault> {
        self.cursor.space();
        let more = match self.cursor.byte() {
            b',' => true,
            b']' => false,
            _ => return Err(self.cursor.syntax("expected , or ]")),
        };
        self.cursor.at += 1;
        self.cursor.space();
        Ok(more)
    }

    /// Reads a field's value into its column.
    #[inline(always)]
    fn leaf(&mut self, node: NodeId, leaf: Leaf) -> Result<(), Fault> {
        match leaf.shape {
            Shape::Single => {
                self.settled += 1;
                if self.cursor.byte() == b'n' {
                    return self.null(node);
                }
                self.scalar(node, leaf, |column| column)
            }
            Shape::List => {
                self.settled += 1;
                if self.cursor.byte() == b'n' {
                    return self.null(node);
                }
                self.list(node, leaf)
            }
            Shape::Gathered => self.element(node, leaf),
        }
    }

    #[inline(never)]
    fn null(&mut self, node: NodeId) -> Result<(), Fault> {
        self.cursor.literal("null")?;
        self.absent(node, true)
    }

    /// Reads an array of scalars.
    #[inline(never)]
    fn list(&mut self, node: NodeId, leaf: Leaf) -> Result<(), Fault> {
        if self.cursor.byte() != b'[' {
            return Err(self.mistyped(node));
        }
        self.cursor.at += 1;
        self.cursor.space();
        if self.cursor.byte() == b']' {
            self.cursor.at += 1;
        } else {
            loop {
                self.element(node, leaf)?;
                if !self.next_element()? {
                    break;
                }
            }
        }
        if let Some(column) = self.column_of(node) {
            column.close_list();
        }
        Ok(())
    }

    /// Reads an element of a list.
    #[inline(never)]
    fn element(&mut self, node: NodeId, leaf: Leaf) -> Result<(), Fault> {
        if self.cursor.byte() == b'n' {
            self.cursor.literal("null")?;
            if let Some(column) = self.column_of(node) {
                column.elements().push_null();
            }
            return Ok(());
        }
        self.scalar(node, leaf, Column::elements)
    }

    /// Reads a scalar and appends it to what `part` makes of the leaf's column.
    #[inline(always)]
    fn scalar(
        &mut self,
        node: NodeId,
        leaf: Leaf,
        part: impl FnOnce(&mut Column) -> &mut Column,
    ) -> Result<(), Fault> {
        let byte = self.cursor.byte();
        let column = leaf.column as usize;
        match leaf.scalar {
            Scalar::String => {
                let text = self.text(node, byte)?;
                if let Some(column) = self.columns.get_mut(column).map(part) {
                    push_text(column, text);
                }
            }
            Scalar::Int64 => {
                let value = self.number(node, byte, Number::to_i64)?;
                if let Some(column) = self.columns.get_mut(column).map(part) {
                    column.push_i64(value);
                }
            }
            Scalar::UInt64 => {
                let value = self.number(node, byte, Number::to_u64)?;
                if let Some(column) = self.columns.get_mut(column).map(part) {
                    column.push_u64(value);
                }
            }
            Scalar::Float64 => {
                let value = self.number(node, byte, Number::to_f64)?;
                if let Some(column) = self.columns.get_mut(column).map(part) {
                    column.push_f64(value);
                }
            }
            Scalar::Decimal { scale } => {
                let value = self.number(node, byte, |number, payload| number.to_decimal(payload, scale))?;
                if let Some(column) = self.columns.get_mut(column).map(part) {
                    column.push_decimal(value);
                }
            }
            Scalar::Epoch { power } => {
                let value = self.number(node, byte, |number, payload| number.to_micros(payload, power))?;
                if let Some(column) = self.columns.get_mut(column).map(part) {
                    column.push_i64(value);
                }
            }
            Scalar::Rfc3339 => {
                let value = self.rfc3339(node, byte)?;
                if let Some(column) = self.columns.get_mut(column).map(part) {
                    column.push_i64(value);
                }
            }
            Scalar::Bool => {
                let value = byte == b't';
                match byte {
                    b't' => self.cursor.literal("true")?,
                    b'f' => self.cursor.literal("false")?,
                    _ => return Err(self.mistyped(node)),
                }
                if let Some(column) = self.columns.get_mut(column).map(part) {
                    column.push_bool(value);
                }
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn text(&mut self, node: NodeId, byte: u8) -> Result<Text<'a>, Fault> {
        if byte == b'"' { self.cursor.string() } else { Err(self.mistyped(node)) }
    }

    #[inline(always)]
    fn number<T>(
        &mut self,
        node: NodeId,
        byte: u8,
        convert: impl FnOnce(Number, &[u8]) -> Result<T, NumberFault>,
    ) -> Result<T, Fault> {
        if !matches!(byte, b'-' | b'0'..=b'9') {
            return Err(self.mistyped(node));
        }
        let number = self.cursor.number()?;
        convert(number, self.cursor.bytes).map_err(|fault| match fault {
            NumberFault::Fractional => Fault::Type { node, start: number.start, end: number.end },
            NumberFault::Range => Fault::Range { node, start: number.start, end: number.end },
        })
    }

    #[inline(never)]
    fn rfc3339(&mut self, node: NodeId, byte: u8) -> Result<i64, Fault> {
        let start = self.cursor.at;
        let text = self.text(node, byte)?;
        let end = self.cursor.at;
        let time = if text.escaped {
            time::parse_rfc3339(&text.unescaped())
        } else {
            time::parse_rfc3339(text.bytes)
        };
        time.map_err(|fault| match fault {
            TimeFault::Malformed => Fault::Type { node, start, end },
            TimeFault::OutOfRange => Fault::Range { node, start, end },
        })
    }

    /// The fault of a value here that is not of the node's type, unless it is no JSON at all.
    #[cold]
    fn mistyped(&mut self, node: NodeId) -> Fault {
        let start = self.cursor.at;
        match self.cursor.skip_value(0) {
            Ok(()) => Fault::Type { node, start, end: self.cursor.at },
            Err(fault) => fault,
        }
    }

    fn column_of(&mut self, node: NodeId) -> Option<&mut Column> {
        match self.layout.kind(node) {
            Kind::Leaf(leaf) => self.columns.get_mut(leaf.column as usize),
            Kind::Object | Kind::Group(_) => None,
        }
    }

    /// Gives every slot that the payload did not mention its null.
    #[inline(never)]
    fn settle_absent(&mut self, stamp: u64) -> Result<(), Fault> {
        let layout = self.layout;
        for slot in layout.slots() {
            if self.memory.stamps[*slot as usize] != stamp {
                match layout.group(*slot) {
                    Some(leaves) => leaves.iter().try_for_each(|leaf| self.absent(*leaf, false))?,
                    None => self.absent(*slot, false)?,
                }
            }
        }
        Ok(())
    }

    /// Appends a null to a leaf's column, if it may be null.
    fn absent(&mut self, node: NodeId, null: bool) -> Result<(), Fault> {
        if let Kind::Leaf(Leaf { required: true, .. }) = self.layout.kind(node) {
            return Err(Fault::Missing { node, null });
        }
        if let Some(column) = self.column_of(node) {
            column.push_null();
        }
        Ok(())
    }
}

#[inline(always)]
fn push_text(column: &mut Column, text: Text<'_>) {
    if text.escaped {
        column.push_text_with(|bytes| text.unescape_into(bytes));
    } else {
        column.push_bytes(text.bytes);
    }
}

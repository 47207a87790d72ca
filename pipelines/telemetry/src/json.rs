//! JSON written straight into a reused buffer: numbers are integers or integers with a decimal point put in, names come
//! quoted from the compiler, and no string here needs escaping.

use crate::random::rounded;

const DIGITS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A JSON text being written. Every value leaves a comma behind it, which the closing bracket overwrites.
pub(crate) struct Json<'a>(pub(crate) &'a mut Vec<u8>);

/// Writes fields of an object: `fields!(json; "name": int(5), "of": text("x"))`.
macro_rules! fields {
    ($json:expr; $($name:literal : $method:ident ( $($arg:expr),* )),+ $(,)?) => {{
        $( $json.raw(concat!("\"", $name, "\":")); $json.$method($($arg),*); )+
    }};
}
pub(crate) use fields;

impl Json<'_> {
    pub(crate) fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn open(&mut self) {
        self.0.push(b'{');
    }

    pub(crate) fn open_list(&mut self) {
        self.0.push(b'[');
    }

    pub(crate) fn close(&mut self) {
        self.end(b'{', b'}');
    }

    pub(crate) fn close_list(&mut self) {
        self.end(b'[', b']');
    }

    fn end(&mut self, opened: u8, closed: u8) {
        match self.0.last_mut() {
            Some(last) if *last != opened => *last = closed,
            _ => self.0.push(closed),
        }
        self.0.push(b',');
    }

    /// Closes the outermost object.
    pub(crate) fn finish(mut self) {
        self.close();
        self.0.pop();
    }

    pub(crate) fn int(&mut self, value: i64) {
        if value < 0 {
            self.0.push(b'-');
        }
        digits(self.0, value.unsigned_abs(), 1);
        self.0.push(b',');
    }

    /// `value` with its last `places` digits behind the point.
    pub(crate) fn decimal(&mut self, value: i64, places: u32) {
        if value < 0 {
            self.0.push(b'-');
        }
        let (value, unit) = (value.unsigned_abs(), 10u64.pow(places));
        digits(self.0, value / unit, 1);
        self.0.push(b'.');
        digits(self.0, value % unit, places as usize);
        self.0.push(b',');
    }

    /// A number rounded to `places` decimals.
    pub(crate) fn number(&mut self, value: f64, places: u32) {
        self.decimal(rounded(value * 10u64.pow(places) as f64), places);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.raw(if value { "true," } else { "false," });
    }

    pub(crate) fn text(&mut self, value: &str) {
        self.0.push(b'"');
        self.0.extend_from_slice(value.as_bytes());
        self.raw("\",");
    }

    /// A string made of a key's bytes.
    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.0.push(b'"');
        self.0.extend_from_slice(value);
        self.raw("\",");
    }

    /// A string of a prefix and a number in `width` decimal digits.
    pub(crate) fn numbered(&mut self, prefix: &str, number: u64, width: usize) {
        self.0.push(b'"');
        numbered(self.0, prefix, number, width);
        self.raw("\",");
    }

    /// A string of a prefix and `width` hexadecimal digits.
    pub(crate) fn hex(&mut self, prefix: &str, value: u64, width: usize) {
        self.0.push(b'"');
        hex(self.0, prefix, value, width);
        self.raw("\",");
    }
}

/// A prefix and a number in at least `width` decimal digits.
pub(crate) fn numbered(out: &mut Vec<u8>, prefix: &str, number: u64, width: usize) {
    out.extend_from_slice(prefix.as_bytes());
    digits(out, number, width);
}

/// A prefix and the lowest `width` hexadecimal digits of a value.
pub(crate) fn hex(out: &mut Vec<u8>, prefix: &str, value: u64, width: usize) {
    out.extend_from_slice(prefix.as_bytes());
    let mut text = [0u8; 16];
    for (at, digit) in text.iter_mut().enumerate() {
        *digit = HEX[(value >> (60 - 4 * at) & 15) as usize];
    }
    out.extend_from_slice(&text[16 - width..]);
}

fn digits(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let mut text = [b'0'; 20];
    let mut at = 20;
    while value >= 100 {
        let pair = (value % 100) as usize * 2;
        value /= 100;
        at -= 2;
        text[at..at + 2].copy_from_slice(&DIGITS[pair..pair + 2]);
    }
    if value >= 10 {
        at -= 2;
        text[at..at + 2].copy_from_slice(&DIGITS[value as usize * 2..value as usize * 2 + 2]);
    } else {
        at -= 1;
        text[at] = b'0' + value as u8;
    }
    out.extend_from_slice(&text[at.min(20 - width)..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_serde_reads() {
        let mut bytes = Vec::new();
        let mut json = Json(&mut bytes);
        json.open();
        fields!(json; "a": int(-1_234_567_890_123), "b": decimal(-5, 6), "c": number(12.345, 1), "d": bool(true),
            "e": numbered("n-", 42, 5), "f": hex("h", 0xabc, 6), "min": int(i64::MIN), "ten": int(10), "z": int(0));
        json.raw("\"list\":");
        json.open_list();
        json.text("x");
        json.close_list();
        json.raw("\"none\":");
        json.open();
        json.close();
        json.finish();
        let read: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let expected = serde_json::json!({"a": -1_234_567_890_123i64, "b": -0.000005, "c": 12.3, "d": true, "e": "n-00042",
            "f": "h000abc", "min": i64::MIN, "ten": 10, "z": 0, "list": ["x"], "none": {}});
        assert_eq!(read, expected);
    }
}

//! JSON strings: finding their end eight bytes at a time, checking their escapes, and unescaping the few that have any.

use super::cursor::{Cursor, Text};
use super::fault::Fault;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// A high bit in the lowest byte that is a quote, a backslash or a control character. Bytes above it may be marked
/// wrongly; the lowest mark is exact. Formulas: Warren and Anderson, "Bit Twiddling Hacks", haszero and hasless.
#[inline(always)]
fn stops(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let quotes = quote.wrapping_sub(ONES) & !quote;
    let backslashes = backslash.wrapping_sub(ONES) & !backslash;
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    (quotes | backslashes | controls) & HIGHS
}

impl<'a> Cursor<'a> {
    /// Moves over a string, which has to begin here.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Text<'a>, Fault> {
        self.expect(b'"', "expected a string in double quotes")?;
        let start = self.at;
        self.skip_plain();
        let mut escaped = false;
        while self.byte() != b'"' {
            self.escape()?;
            escaped = true;
            self.skip_plain();
        }
        let bytes = &self.bytes[start..self.at];
        self.at += 1;
        Ok(Text { bytes, escaped })
    }

    /// Moves to the next quote, backslash or control character, or to the end.
    #[inline(always)]
    fn skip_plain(&mut self) {
        while let Some(chunk) = self.bytes.get(self.at..self.at + 8) {
            let word = u64::from_le_bytes(chunk.try_into().expect("invariant: a slice of eight bytes"));
            let stops = stops(word);
            if stops != 0 {
                self.at += stops.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
        while !matches!(self.byte(), b'"' | b'\\' | 0..0x20) {
            self.at += 1;
        }
    }

    /// Moves over one escape, which begins at the backslash here.
    #[cold]
    fn escape(&mut self) -> Result<(), Fault> {
        if self.at >= self.bytes.len() {
            return Err(self.syntax("a string lacks its closing quote"));
        }
        if self.byte() != b'\\' {
            return Err(self.syntax("control characters in a string must be escaped"));
        }
        let at = self.at;
        match self.bytes.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => match unicode(&self.bytes[at..]) {
                Some((_, length)) => self.at += length,
                None => return Err(self.syntax("expected four hexadecimal digits of a whole character")),
            },
            _ => return Err(self.syntax("there is no such escape")),
        }
        Ok(())
    }
}

/// The character of the `\uXXXX` that `bytes` begin with, a pair of surrogates being one, and the bytes it takes.
/// `None`: not hexadecimal, or half a pair.
fn unicode(bytes: &[u8]) -> Option<(char, usize)> {
    let high = unit(bytes)?;
    if let Some(character) = char::from_u32(high) {
        return Some((character, 6));
    }
    let low = unit(&bytes[6..])?;
    if high >= 0xDC00 || !(0xDC00..0xE000).contains(&low) {
        return None;
    }
    let character = char::from_u32(0x10000 + ((high - 0xD800) << 10 | (low - 0xDC00)))?;
    Some((character, 12))
}

/// The UTF-16 unit of the `\uXXXX` that `bytes` begin with.
fn unit(bytes: &[u8]) -> Option<u32> {
    let [b'\\', b'u', digits @ ..] = bytes else { return None };
    digits.get(..4)?.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
}

impl Text<'_> {
    /// Appends the string's characters to `out`.
    pub(super) fn unescape_into(self, out: &mut Vec<u8>) {
        let mut rest = self.bytes;
        while let Some(plain) = rest.iter().position(|byte| *byte == b'\\') {
            out.extend_from_slice(&rest[..plain]);
            rest = &rest[plain..];
            let (character, length) = match rest[1] {
                b'b' => ('\u{8}', 2),
                b'f' => ('\u{c}', 2),
                b'n' => ('\n', 2),
                b'r' => ('\r', 2),
                b't' => ('\t', 2),
                b'u' => unicode(rest).expect("invariant: escapes were checked when the string was read"),
                other => (char::from(other), 2),
            };
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &rest[length..];
        }
        out.extend_from_slice(rest);
    }

    /// The string's characters.
    pub(super) fn unescaped(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len());
        self.unescape_into(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str) -> Result<String, Fault> {
        let mut cursor = Cursor { bytes: json.as_bytes(), at: 0 };
        let text = cursor.string()?;
        assert_eq!(cursor.at, json.len(), "the whole string is read");
        Ok(String::from_utf8(text.unescaped()).expect("UTF-8 in, UTF-8 out"))
    }

    #[test]
    fn unescapes() {
        for (json, expected) in [
            (r#""""#, ""),
            (r#""plain, longer than a word""#, "plain, longer than a word"),
            (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r#""\u0041\u00e9\u20AC""#, "Aé€"),
            (r#""\ud83d\ude00 and \uD83D\uDE00""#, "😀 and 😀"),
            (r#""é€😀, unescaped""#, "é€😀, unescaped"),
            ("\"\u{7f} is no control character of JSON\"", "\u{7f} is no control character of JSON"),
        ] {
            assert_eq!(read(json).as_deref(), Ok(expected), "{json}");
        }
    }

    #[test]
    fn refuses_what_is_no_string() {
        for json in [
            "x",
            r#"""#.trim_end_matches('"'),
            r#""open"#,
            r#""open, and longer than a word"#,
            "\"a\nb\"",
            "\"0123456\u{1f}\"",
            r#""\x""#,
            r#""\"#,
            r#""\u12""#,
            r#""\u12g4""#,
            r#""\ud800""#,
            r#""\ud800x\udc00""#,
            r#""\ud800\ud800""#,
            r#""\udc00\ud800""#,
        ] {
            let mut cursor = Cursor { bytes: json.as_bytes(), at: 0 };
            assert!(cursor.string().is_err(), "{json}");
        }
    }

    proptest! {
        #[test]
        fn reads_what_serde_json_writes(text in "\\PC*|[ -~]{0,40}|(?s).{0,20}") {
            let json = serde_json::to_string(&text).expect("strings serialise");
            prop_assert_eq!(read(&json).ok(), Some(text));
        }

        #[test]
        fn the_lowest_stop_is_exact(bytes in proptest::array::uniform8(any::<u8>())) {
            let expected = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            let stops = stops(u64::from_le_bytes(bytes));
            prop_assert_eq!((stops != 0).then(|| stops.trailing_zeros() as usize / 8), expected);
        }
    }
}

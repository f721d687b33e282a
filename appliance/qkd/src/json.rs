//! A JSON reader (RFC 8259) that works inside the buffer it reads.
//!
//! A key comes as a string of a document. A reader that allocates would leave it on the heap, so
//! this one hands out ranges of the buffer; escapes are taken out of a string in place. It accepts
//! the whole grammar, limits nesting, and never looks back.

use core::ops::Range;

/// The deepest nesting of arrays and objects.
pub(crate) const DEPTH: u8 = 16;

/// The bytes are no document, or not one of this reader.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a document of the expected form")]
pub(crate) struct Malformed;

/// A place in a document.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a mut [u8],
    at: usize,
    depth: u8,
}

/// What a value begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Word,
}

impl<'a> Reader<'a> {
    /// Begins at the first byte.
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            depth: 0,
        }
    }

    /// Reads an object; `member` is given the range of each name and must read the value.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Range<usize>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.list(b'{', b'}', |reader| {
            reader.space();
            let name = reader.string()?;
            reader.space();
            reader.expect(b':')?;
            member(reader, name)
        })
    }

    /// Reads an array; `element` must read one element.
    pub(crate) fn array(
        &mut self,
        element: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.list(b'[', b']', element)
    }

    /// Reads a string and gives the range of its characters, without escapes.
    ///
    /// An escape that stands for more than ASCII is refused: no field that counts has one.
    pub(crate) fn string(&mut self) -> Result<Range<usize>, Malformed> {
        self.space();
        self.expect(b'"')?;
        let start = self.at;
        let mut end = start;
        loop {
            let byte = match self.next()? {
                b'"' => return Ok(start..end),
                b'\\' => self.escape()?,
                0..=0x1f => return Err(Malformed),
                byte => byte,
            };
            *self.bytes.get_mut(end).ok_or(Malformed)? = byte;
            end = end.checked_add(1).ok_or(Malformed)?;
        }
    }

    /// Reads a number that is a whole one and not negative.
    pub(crate) fn whole_number(&mut self) -> Result<u64, Malformed> {
        self.space();
        let digits = self.number()?;
        let digits = self.bytes.get(digits).ok_or(Malformed)?;
        digits.iter().try_fold(0_u64, |number, digit| {
            let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10);
            number
                .checked_mul(10)
                .zip(digit)
                .and_then(|(number, digit)| number.checked_add(digit.into()))
                .ok_or(Malformed)
        })
    }

    /// Reads any value and drops it.
    pub(crate) fn skip(&mut self) -> Result<(), Malformed> {
        match self.kind()? {
            Kind::Object => self.list(b'{', b'}', |reader| {
                reader.skip_string()?;
                reader.space();
                reader.expect(b':')?;
                reader.skip()
            }),
            Kind::Array => self.list(b'[', b']', Self::skip),
            Kind::String => self.skip_string(),
            Kind::Number => self.number().map(drop),
            Kind::Word => self.word(),
        }
    }

    /// Tells what the next value is.
    pub(crate) fn kind(&mut self) -> Result<Kind, Malformed> {
        self.space();
        match self.peek() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f' | b'n') => Ok(Kind::Word),
            _ => Err(Malformed),
        }
    }

    /// Checks that nothing follows.
    pub(crate) fn end(&mut self) -> Result<(), Malformed> {
        self.space();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(Malformed),
        }
    }

    /// The bytes of a range that this reader gave out.
    pub(crate) fn text(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    fn list(
        &mut self,
        open: u8,
        close: u8,
        mut element: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.space();
        self.expect(open)?;
        self.depth = self.depth.checked_add(1).ok_or(Malformed)?;
        if self.depth > DEPTH {
            return Err(Malformed);
        }
        self.space();
        if self.peek() == Some(close) {
            self.next()?;
        } else {
            loop {
                element(self)?;
                self.space();
                match self.next()? {
                    b',' => {}
                    byte if byte == close => break,
                    _ => return Err(Malformed),
                }
            }
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }

    fn skip_string(&mut self) -> Result<(), Malformed> {
        self.space();
        self.expect(b'"')?;
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => self.unicode().map(drop)?,
                    _ => return Err(Malformed),
                },
                0..=0x1f => return Err(Malformed),
                _ => {}
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<u8, Malformed> {
        match self.next()? {
            byte @ (b'"' | b'\\' | b'/') => Ok(byte),
            b'b' => Ok(8),
            b'f' => Ok(12),
            b'n' => Ok(b'\n'),
            b'r' => Ok(b'\r'),
            b't' => Ok(b'\t'),
            b'u' => match u8::try_from(self.unicode()?) {
                Ok(byte) if byte.is_ascii() => Ok(byte),
                _ => Err(Malformed),
            },
            _ => Err(Malformed),
        }
    }

    fn unicode(&mut self) -> Result<u32, Malformed> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = char::from(self.next()?).to_digit(16).ok_or(Malformed)?;
            code = (code << 4) | digit;
        }
        Ok(code)
    }

    /// The range of a number; `-0.5e+3` is one.
    fn number(&mut self) -> Result<Range<usize>, Malformed> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        Ok(start..self.at)
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        if !self.next()?.is_ascii_digit() {
            return Err(Malformed);
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.next()?;
        }
        Ok(())
    }

    fn word(&mut self) -> Result<(), Malformed> {
        let word: &[u8] = match self.next()? {
            b't' => b"rue",
            b'f' => b"alse",
            b'n' => b"ull",
            _ => return Err(Malformed),
        };
        for byte in word {
            self.expect(*byte)?;
        }
        Ok(())
    }

    fn space(&mut self) {
        while self.take(b' ') || self.take(b'\n') || self.take(b'\r') || self.take(b'\t') {}
    }

    fn take(&mut self, byte: u8) -> bool {
        self.expect(byte).is_ok()
    }

    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek() != Some(byte) {
            return Err(Malformed);
        }
        self.next().map(drop)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, Malformed> {
        let byte = self.peek().ok_or(Malformed)?;
        self.at = self.at.checked_add(1).ok_or(Malformed)?;
        Ok(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn skips(document: &[u8]) -> bool {
        let mut bytes = document.to_vec();
        let mut reader = Reader::new(&mut bytes);
        reader.skip().and_then(|()| reader.end()).is_ok()
    }

    fn string(document: &str) -> Result<Vec<u8>, Malformed> {
        let mut bytes = document.as_bytes().to_vec();
        let mut reader = Reader::new(&mut bytes);
        let range = reader.string()?;
        reader.end()?;
        Ok(reader.text(&range).to_vec())
    }

    fn whole_number(document: &str) -> Result<u64, Malformed> {
        let mut bytes = document.as_bytes().to_vec();
        let mut reader = Reader::new(&mut bytes);
        let number = reader.whole_number()?;
        reader.end()?;
        Ok(number)
    }

    #[test]
    fn escapes_are_taken_out_in_place() {
        assert_eq!(string(r#" "a\/\u002b\"\\=" "#).unwrap(), b"a/+\"\\=");
        assert_eq!(
            string(r#""\b\f\n\r\t\u0000""#).unwrap(),
            b"\x08\x0c\n\r\t\0"
        );
        for bad in [
            r#""\u00e4""#,
            r#""\x""#,
            r#""\u12""#,
            "\"a\nb\"",
            "\"a",
            "a",
        ] {
            assert_eq!(string(bad), Err(Malformed), "{bad}");
        }
    }

    #[test]
    fn only_whole_numbers_that_fit_count() {
        assert_eq!(whole_number("0"), Ok(0));
        assert_eq!(whole_number("18446744073709551615"), Ok(u64::MAX));
        for bad in ["18446744073709551616", "-1", "1.0", "1e3", "01", "", "+1"] {
            assert_eq!(whole_number(bad), Err(Malformed), "{bad}");
        }
    }

    #[test]
    fn nesting_has_an_end() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(skips(nested(DEPTH.into()).as_bytes()));
        assert!(!skips(nested(usize::from(DEPTH) + 1).as_bytes()));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for bad in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\"}",
            "nul",
            "truex",
            "1 2",
            "-",
            ".5",
            "1.",
            "1e",
            "\"\\u12g4\"",
            "[1 2]",
            "'a'",
            "\u{feff}1",
        ] {
            assert!(!skips(bad.as_bytes()), "{bad}");
        }
    }

    proptest! {
        /// What another reader accepts, this one accepts: with any layout and any value.
        #[test]
        fn every_document_is_read_to_its_end(value in document(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            prop_assert!(skips(text.unwrap().as_bytes()));
        }

        /// What this reader accepts, another one accepts, as far as bytes are text.
        #[test]
        fn nothing_else_is_read(bytes in "[\\[\\]{}\",:0-9eE+.truefalsn \\\\-]{0,24}") {
            if skips(bytes.as_bytes()) {
                prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&bytes).is_ok());
            }
        }

        #[test]
        fn a_string_is_what_was_written(text in "[ -~]{0,40}") {
            let document = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(string(&document).unwrap(), text.as_bytes());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            skips(&bytes);
        }
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(".{0,4}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }
}

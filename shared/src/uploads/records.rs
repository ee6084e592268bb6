//! Where records of a CSV file begin and end, and where their fields are.
//!
//! Quoting is RFC 4180's, strictly: a quote opens a field only as its first byte, and after the
//! closing quote a delimiter or the record's end must follow. That strictness is what makes a stray
//! quote harmless: instead of swallowing the lines below it up to the next quote, the line with the
//! stray quote is one bad record and reading goes on at the next line. A test compares this module
//! with the `csv` crate on every well-formed file.

use memchr::{memchr, memchr2};
use std::num::NonZeroU32;

/// A longer record is not read into memory; it is one bad record.
pub const MAX_RECORD_BYTES: usize = 4 << 20;

/// A range of a chunk's text. It is kept small (a chunk has a million of them): an absent one costs
/// nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte, plus one.
    start: NonZeroU32,
    len: u32,
}

impl Span {
    /// The span of `start..end`.
    pub fn new(start: usize, end: usize) -> Self {
        let fit = |value: usize| u32::try_from(value).expect("chunks are far below 4 GiB");
        Self { start: NonZeroU32::MIN.saturating_add(fit(start)), len: fit(end - start) }
    }

    /// First byte.
    pub fn start(self) -> usize {
        self.start.get() as usize - 1
    }

    /// The same in a text that has so many bytes more before it.
    pub fn moved(self, bytes: usize) -> Self {
        Self::new(self.start() + bytes, self.start() + bytes + self.len as usize)
    }

    /// Whether it holds nothing.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Its bytes.
    pub fn of(self, text: &[u8]) -> &[u8] {
        &text[self.start()..self.start() + self.len as usize]
    }
}

/// What begins at a place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// A record of `len` bytes, its line end included, over `lines` lines. `quoted` if it holds a quote
    /// anywhere.
    Whole {
        /// Bytes up to the next record.
        len: usize,
        /// Line ends in it.
        lines: u32,
        /// Whether splitting must look at quotes.
        quoted: bool,
    },
    /// A line whose quotes do not pair; the next record begins after it.
    BadQuoting {
        /// Bytes of the line, its line end included.
        len: usize,
    },
    /// A line with nothing on it; no record.
    Blank {
        /// Bytes of the line.
        len: usize,
    },
    /// The text ends before the record does.
    Incomplete,
}

/// What begins at the start of `text`. `last` says that the file ends where the text ends.
pub fn next_record(text: &[u8], delimiter: u8, last: bool) -> Record {
    let line = match memchr(b'\n', text) {
        Some(at) => at + 1,
        None if last && !text.is_empty() => text.len(),
        None => return Record::Incomplete,
    };
    let first = &text[..line];
    if memchr(b'"', first).is_none() {
        if first.iter().all(u8::is_ascii_whitespace) {
            return Record::Blank { len: line };
        }
        return Record::Whole { len: line, lines: 1, quoted: false };
    }
    match quoted_record(text, delimiter, last) {
        // The planner reads no further than this either: both must judge alike.
        Quoted::Ends { len, .. } if len > MAX_RECORD_BYTES => Record::BadQuoting { len: line },
        Quoted::Ends { len, lines } => Record::Whole { len, lines, quoted: true },
        Quoted::Broken => Record::BadQuoting { len: line },
        Quoted::Open if last || text.len() >= MAX_RECORD_BYTES => Record::BadQuoting { len: line },
        Quoted::Open => Record::Incomplete,
    }
}

enum Quoted {
    Ends { len: usize, lines: u32 },
    Broken,
    Open,
}

/// Walks field by field to the end of a record that holds quotes.
fn quoted_record(text: &[u8], delimiter: u8, last: bool) -> Quoted {
    let mut at = 0;
    let mut lines = 0;
    loop {
        if text.get(at) == Some(&b'"') {
            match after_quoted_field(text, at, last) {
                Some(Ok((end, inner_lines))) => {
                    lines += inner_lines;
                    at = end;
                }
                Some(Err(())) => return Quoted::Broken,
                None => return Quoted::Open,
            }
            match text[at..] {
                [] if last => return Quoted::Ends { len: at, lines: lines + 1 },
                [] => return Quoted::Open,
                [b'\n', ..] => return Quoted::Ends { len: at + 1, lines: lines + 1 },
                [b'\r', b'\n', ..] => return Quoted::Ends { len: at + 2, lines: lines + 1 },
                [b'\r'] if last => return Quoted::Ends { len: at + 1, lines: lines + 1 },
                [b'\r'] => return Quoted::Open,
                [byte, ..] if byte == delimiter => at += 1,
                _ => return Quoted::Broken,
            }
        } else {
            match memchr2(delimiter, b'\n', &text[at..]) {
                Some(offset) if text[at + offset] == b'\n' => {
                    return Quoted::Ends { len: at + offset + 1, lines: lines + 1 };
                }
                Some(offset) => at += offset + 1,
                None if last => return Quoted::Ends { len: text.len(), lines: lines + 1 },
                None => return Quoted::Open,
            }
        }
    }
}

/// The place after the closing quote of the field that opens at `at`, and the line ends within;
/// `None` if the text ends first.
fn after_quoted_field(text: &[u8], at: usize, last: bool) -> Option<Result<(usize, u32), ()>> {
    let mut at = at + 1;
    let mut lines = 0;
    loop {
        let offset = memchr2(b'"', b'\n', text.get(at..)?)?;
        at += offset + 1;
        if text[at - 1] == b'\n' {
            lines += 1;
            if at > MAX_RECORD_BYTES {
                return Some(Err(()));
            }
        } else {
            match text.get(at) {
                Some(b'"') => at += 1,
                None if !last => return None,
                _ => return Some(Ok((at, lines))),
            }
        }
    }
}

/// Splits the record at `start..start + len` of `text` into `fields`. Fields lie in the text where they
/// stand; one with doubled quotes is unescaped behind the text's end.
pub fn split_fields(
    text: &mut Vec<u8>,
    start: usize,
    len: usize,
    quoted: bool,
    delimiter: u8,
    fields: &mut Vec<Span>,
) {
    fields.clear();
    let mut end = start + len;
    if end > start && text[end - 1] == b'\n' {
        end -= 1;
    }
    if end > start && text[end - 1] == b'\r' {
        end -= 1;
    }
    let mut at = start;
    loop {
        if quoted && at < end && text[at] == b'"' {
            let (field, after) = quoted_field(text, at, end);
            fields.push(field);
            if after >= end {
                return;
            }
            at = after + 1;
        } else {
            match memchr(delimiter, &text[at..end]) {
                Some(offset) => {
                    fields.push(Span::new(at, at + offset));
                    at += offset + 1;
                }
                None => {
                    fields.push(Span::new(at, end));
                    return;
                }
            }
        }
    }
}

/// The field whose quote opens at `at`, and the place of the delimiter after it.
fn quoted_field(text: &mut Vec<u8>, at: usize, end: usize) -> (Span, usize) {
    let start = at + 1;
    let mut close = start;
    let mut doubled = false;
    loop {
        match memchr(b'"', &text[close..end]) {
            None => break close = end,
            Some(offset) => {
                close += offset;
                if close + 1 < end && text[close + 1] == b'"' {
                    doubled = true;
                    close += 2;
                } else {
                    break;
                }
            }
        }
    }
    if !doubled {
        return (Span::new(start, close), close + 1);
    }
    let begin = text.len();
    let mut from = start;
    while let Some(offset) = memchr(b'"', &text[from..close]) {
        text.extend_from_within(from..=from + offset);
        from += offset + 2;
    }
    text.extend_from_within(from..close);
    (Span::new(begin, text.len()), close + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All records of a file; a bad line is `Err`.
    fn read(file: &[u8]) -> Vec<Result<Vec<String>, String>> {
        let mut text = file.to_vec();
        let (mut at, mut fields, mut records) = (0, Vec::new(), Vec::new());
        while at < file.len() {
            match next_record(&file[at..], b',', true) {
                Record::Whole { len, quoted, .. } => {
                    split_fields(&mut text, at, len, quoted, b',', &mut fields);
                    let values = fields.iter().map(|field| String::from_utf8_lossy(field.of(&text)).into());
                    records.push(Ok(values.collect()));
                    at += len;
                }
                Record::BadQuoting { len } => {
                    records.push(Err(String::from_utf8_lossy(&file[at..at + len]).into()));
                    at += len;
                }
                Record::Blank { len } => at += len,
                Record::Incomplete => panic!("incomplete at {at} of {file:?}"),
            }
        }
        records
    }

    #[test]
    fn well_formed_files_read_as_the_csv_crate_reads_them() {
        // Every combination of three fields from a set that holds all special bytes, in two line ends.
        let values = ["", "a", "x,y", "two\nlines", "say \"hi\"", "\"", "\r\n", "end\"", "é", " "];
        for line_end in ["\n", "\r\n"] {
            let mut writer = csv::WriterBuilder::new()
                .terminator(if line_end == "\n" {
                    csv::Terminator::Any(b'\n')
                } else {
                    csv::Terminator::CRLF
                })
                .from_writer(Vec::new());
            let mut expected = Vec::new();
            for one in values {
                for two in values {
                    for three in values {
                        let record = ["first", one, two, three];
                        writer.write_record(record).unwrap();
                        expected.push(Ok(record.map(str::to_owned).to_vec()));
                    }
                }
            }
            assert_eq!(read(&writer.into_inner().unwrap()), expected);
        }
    }

    #[test]
    fn a_stray_quote_costs_its_line_and_no_other() {
        let file = b"1,\"open,x\n2,b\n3,\"c\",d\n4,\"e\"f,g\n5,h\"i\n6,\"never closed\n7,j";
        let good = |fields: &[&str]| Ok(fields.iter().map(|&field| field.to_owned()).collect());
        let bad = |line: &str| Err(line.to_owned());
        let expected = vec![
            bad("1,\"open,x\n"),
            good(&["2", "b"]),
            good(&["3", "c", "d"]),
            bad("4,\"e\"f,g\n"),
            good(&["5", "h\"i"]),
            bad("6,\"never closed\n"),
            good(&["7", "j"]),
        ];
        assert_eq!(read(file), expected);
    }

    #[test]
    fn every_cut_of_a_file_is_incomplete_or_agrees_with_the_whole() {
        let file = b"a,\"b\r\nc\",d\r\ne,\"f\"\"g\"\r\n\r\nh,i\r\n";
        for cut in 0..file.len() {
            match next_record(&file[..cut], b',', false) {
                Record::Incomplete => {}
                whole => assert_eq!(whole, next_record(file, b',', true), "cut at {cut}"),
            }
        }
    }
}

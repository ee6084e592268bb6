//! XML as quick-xml's events, in some two thirds of the time that its own reader takes for the millions of short
//! tags of a sheet. It tells markup apart as quick-xml does, through which calamine reads the same bytes: what it took for
//! something else, no bound would hold for. It does not resolve references and does not match names.

use super::scan::cell_place;
use memchr::{memchr, memmem};
use quick_xml::events::{BytesCData, BytesEnd, BytesPI, BytesStart, BytesText, Event};
use std::{
    io::{Error, ErrorKind, Read, Result},
    ops::Range,
};

/// Bytes of a tag or a text.
const EVENT_BYTES: usize = 16 << 20;
const BUFFER_BYTES: usize = 64 << 10;
/// Bytes of a value in a cell that is taken whole.
const PLAIN_BYTES: usize = 4 << 10;

/// Reads events.
pub struct Markup<R> {
    inner: R,
    buffer: Vec<u8>,
    /// What of the buffer was read and not given out.
    unread: Range<usize>,
    /// Bytes that have left the buffer.
    gone: u64,
    /// The name of an element without content that has begun and has not ended.
    empty: Option<Range<usize>>,
}

/// A cell as spreadsheet programs write most of them, without a formula and without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainCell {
    /// Its row and column, from 0, if it names them.
    pub place: Option<(u32, u32)>,
    /// Whether it has a value.
    pub value: bool,
}

/// What begins at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Start,
    End,
    Instruction,
    Comment,
    CData,
    DocType,
}

impl<R: Read> Markup<R> {
    /// Reads from `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, buffer: vec![0; BUFFER_BYTES], unread: 0..0, gone: 0, empty: None }
    }

    /// The next event and the bytes up to its end. An element without content begins and ends, references are part of a text, a comment
    /// is an empty one, a document type is told of at its first letters and not read.
    pub fn next(&mut self) -> Result<(Event<'_>, u64)> {
        if let Some(name) = self.empty.take() {
            return Ok((Event::End(BytesEnd::new(text(&self.buffer[name])?)), self.position()));
        }
        let Some(kind) = self.kind()? else { return Ok((Event::Eof, self.position())) };
        let found = self.token(kind)?;
        let position = self.position();
        let token = text(&self.buffer[found.clone()])?;
        let event = match kind {
            Kind::Text => Event::Text(BytesText::from_escaped(token)),
            Kind::End => Event::End(BytesEnd::new(closing_name(&token[2..token.len() - 1]))),
            Kind::Instruction => Event::PI(BytesPI::new(&token[2..token.len() - 2])),
            Kind::Comment => Event::Comment(BytesText::from_escaped("")),
            Kind::CData => Event::CData(BytesCData::new(&token["<![CDATA[".len()..token.len() - 3])),
            Kind::DocType => Event::DocType(BytesText::from_escaped("")),
            Kind::Start => {
                let content = &token[1..token.len() - 1];
                let whole = content.strip_suffix('/').unwrap_or(content);
                let name = whole.bytes().position(is_space).unwrap_or(whole.len());
                self.empty = (whole.len() < content.len()).then(|| found.start + 1..found.start + 1 + name);
                Event::Start(BytesStart::from_content(whole, name))
            }
        };
        Ok((event, position))
    }

    /// A cell and the bytes up to its end, if one in a form of [`PlainCell`] is next and in the buffer. What else
    /// comes is left to [`Self::next`], which says the same of such a cell in six events.
    pub fn plain_cell(&mut self) -> Option<(PlainCell, u64)> {
        if self.empty.is_some() {
            return None;
        }
        let (cell, rest) = PlainCell::read(&self.buffer[self.unread.clone()])?;
        self.unread.start = self.unread.end - rest;
        Some((cell, self.position()))
    }

    fn position(&self) -> u64 {
        self.gone + self.unread.start as u64
    }

    /// What begins here; `None` at the end.
    fn kind(&mut self) -> Result<Option<Kind>> {
        loop {
            let begun = &self.buffer[self.unread.clone()];
            let kind = match begun {
                [] => None,
                [b'<', b'/', ..] => Some(Kind::End),
                [b'<', b'?', ..] => Some(Kind::Instruction),
                [b'<', b'!', b'-', b'-', ..] => Some(Kind::Comment),
                [b'<', b'!', b'[', ..] if begun.starts_with(b"<![CDATA[") => Some(Kind::CData),
                [b'<', b'!', b'd' | b'D', ..] => Some(Kind::DocType),
                [b'<', b'!', ..] if begun.len() >= "<![CDATA[".len() => {
                    return Err(bad("'<!' begins nothing known"));
                }
                [b'<'] | [b'<', b'!', ..] => None,
                [b'<', ..] => Some(Kind::Start),
                _ => Some(Kind::Text),
            };
            if kind.is_some() {
                return Ok(kind);
            }
            if !self.fill()? {
                return if self.unread.is_empty() { Ok(None) } else { Err(bad("it ends within a tag")) };
            }
        }
    }

    /// Takes what begins here to its end.
    fn token(&mut self, kind: Kind) -> Result<Range<usize>> {
        let mut scan = Scan { from: 0, quote: None };
        let length = loop {
            if let Some(length) = scan.end(kind, &self.buffer[self.unread.clone()]) {
                break length;
            }
            if !self.fill()? {
                if kind == Kind::Text {
                    break self.unread.len();
                }
                return Err(bad("it ends within a tag"));
            }
        };
        let start = self.unread.start;
        self.unread.start += length;
        Ok(start..start + length)
    }

    /// Reads more behind what is unread; false at the end.
    fn fill(&mut self) -> Result<bool> {
        self.buffer.copy_within(self.unread.clone(), 0);
        self.gone += self.unread.start as u64;
        self.unread = 0..self.unread.len();
        if self.unread.end == self.buffer.len() {
            if self.buffer.len() >= EVENT_BYTES {
                return Err(Error::other(format!("one of its elements has more than {EVENT_BYTES} bytes")));
            }
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        loop {
            match self.inner.read(&mut self.buffer[self.unread.end..]) {
                Ok(read) => {
                    self.unread.end += read;
                    return Ok(read > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl PlainCell {
    /// How deep its elements are nested, itself included.
    pub const DEPTH: usize = 3;

    /// Reads one; how many bytes are left behind it. The first pass is spared six events a cell, which is most
    /// of its time.
    fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut rest = bytes.strip_prefix(b"<c")?;
        let mut place = None;
        while let Some(attribute) = rest.strip_prefix(b" ") {
            let (&name, attribute) = attribute.split_first()?;
            let value = attribute.strip_prefix(b"=\"")?;
            let length = value.iter().position(|byte| !byte.is_ascii_alphanumeric())?;
            let (value, after) = value.split_at(length);
            match name {
                b'r' => place = Some(cell_place(std::str::from_utf8(value).ok()?)?),
                b't' if value != b"e" => {}
                b's' => {}
                _ => return None,
            }
            rest = after.strip_prefix(b"\"")?;
        }
        let rest = rest.strip_prefix(b">")?;
        let (rest, close): (_, &[u8]) = match rest.strip_prefix(b"<v>") {
            Some(rest) => (rest, b"</v></c>"),
            None => (rest.strip_prefix(b"<is><t>")?, b"</t></is></c>"),
        };
        let limit = rest.len().min(PLAIN_BYTES);
        let length = rest[..limit].iter().position(|&byte| byte == b'<' || !byte.is_ascii())?;
        let rest = rest[length..].strip_prefix(close)?;
        Some((Self { place, value: length > 0 }, rest.len()))
    }
}

/// How far the end of what is open has been looked for.
struct Scan {
    from: usize,
    quote: Option<u8>,
}

impl Scan {
    /// How long what begins `bytes` is, its end included; `None` if it does not end in them.
    fn end(&mut self, kind: Kind, bytes: &[u8]) -> Option<usize> {
        // Where the search may begin, and what ends it.
        let (least, last): (usize, &[u8]) = match kind {
            Kind::DocType => return Some(0),
            Kind::Text => return self.text(bytes),
            Kind::Start | Kind::End => return self.unquoted(bytes),
            Kind::Instruction => (2, b"?>"),
            Kind::Comment => (4, b"-->"),
            Kind::CData => (9, b"]]>"),
        };
        let from = self.from.max(least);
        let end = memmem::find(bytes.get(from..)?, last).map(|at| from + at + last.len());
        self.from = bytes.len().saturating_sub(last.len() - 1);
        end
    }

    fn text(&mut self, bytes: &[u8]) -> Option<usize> {
        let found = memchr(b'<', &bytes[self.from..]).map(|at| self.from + at);
        self.from = bytes.len();
        found
    }

    /// The end of a tag: a `>` in a quoted value is none.
    fn unquoted(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = self.from;
        loop {
            let Some(quote) = self.quote else {
                let found = bytes[at..].iter().position(|byte| matches!(byte, b'>' | b'"' | b'\''));
                let Some(found) = found else { break };
                at += found + 1;
                match bytes[at - 1] {
                    b'>' => return Some(at),
                    quote => self.quote = Some(quote),
                }
                continue;
            };
            let Some(found) = bytes[at..].iter().position(|&byte| byte == quote) else { break };
            at += found + 1;
            self.quote = None;
        }
        self.from = bytes.len();
        None
    }
}

/// What a closing tag closes. One of spaces alone is left as it is.
fn closing_name(content: &str) -> &str {
    let length = content.bytes().rposition(|letter| !is_space(letter)).map_or(content.len(), |last| last + 1);
    &content[..length]
}

fn is_space(letter: u8) -> bool {
    matches!(letter, b' ' | b'\t' | b'\r' | b'\n')
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| Error::new(ErrorKind::InvalidData, error))
}

fn bad(why: &str) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    /// What calamine is given, on one line each, and whether that is all; texts beside references together.
    fn expected(document: &[u8]) -> (String, bool) {
        let mut reader = quick_xml::Reader::from_reader(document);
        reader.config_mut().check_end_names = false;
        reader.config_mut().allow_unmatched_ends = true;
        reader.config_mut().expand_empty_elements = true;
        let (mut buffer, mut written) = (Vec::new(), String::new());
        loop {
            buffer.clear();
            match reader.read_event_into(&mut buffer) {
                Ok(Event::Eof) => return (written, true),
                Ok(event) => write_event(&mut written, &event),
                Err(_) => return (written, false),
            }
        }
    }

    fn write_event(written: &mut String, event: &Event<'_>) {
        let text_before = written.rsplit('\u{1}').next().is_some_and(|line| line.starts_with('.'));
        let text = |text: &str| format!("{}{text}", if text_before { "" } else { "\u{1}." });
        let line = match event {
            Event::Text(part) => text(part.as_ref()),
            Event::GeneralRef(name) => text(&format!("&{};", name.as_ref() as &str)),
            Event::Start(element) => {
                format!("\u{1}<{}|{}", element.name().as_ref(), element.as_ref() as &str)
            }
            Event::End(element) => format!("\u{1}>{}", element.name().as_ref()),
            Event::CData(part) => format!("\u{1}[{}", part.as_ref() as &str),
            Event::Comment(_) => "\u{1}!".to_owned(),
            Event::PI(_) | Event::Decl(_) => "\u{1}?".to_owned(),
            Event::DocType(_) => "\u{1}D".to_owned(),
            Event::Empty(_) | Event::Eof => String::new(),
        };
        write!(written, "{line}").unwrap();
    }

    /// Gives a few bytes at a time.
    struct Drops<'d>(&'d [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
            let wanted = self.1.min(buffer.len());
            self.0.read(&mut buffer[..wanted])
        }
    }

    fn found(document: &[u8], drop: usize) -> Result<String> {
        let mut markup = Markup::new(Drops(document, drop));
        let mut written = String::new();
        loop {
            match markup.next()? {
                (Event::Eof, position) => {
                    assert_eq!(position, document.len() as u64);
                    return Ok(written);
                }
                (Event::DocType(_), _) => return Ok(written),
                (event, _) => write_event(&mut written, &event),
            }
        }
    }

    #[test]
    fn markup_is_told_apart_as_quick_xml_does() {
        const PIECES: [&str; 44] = [
            "<",
            ">",
            "/",
            "</",
            "/>",
            "<c",
            "<v>",
            "</v>",
            "</v \t>",
            "<c r=\"A1\" t='s'>",
            "<c/>",
            "<c />",
            "<x:row r='1'/>",
            "'",
            "\"",
            " ",
            "\n",
            "=",
            "&lt;",
            "&#65;",
            "&amp",
            ";",
            "text",
            "é",
            "\u{1f600}",
            "<!",
            "<!-",
            "<!--",
            "-",
            "--",
            "-->",
            "<![",
            "<![CDATA[",
            "]",
            "]]",
            "]]>",
            "<?",
            "?",
            "?>",
            "<?xml version='1.0'?>",
            "[",
            "!",
            "<a b='>'>",
            "<r b=\">'\"/>",
        ];
        let (mut state, mut agreed) = (7u64, 0);
        let mut draw = |most: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % most
        };
        for _ in 0..200_000 {
            let document: String = (0..1 + draw(9)).map(|_| PIECES[draw(PIECES.len())]).collect();
            // What is refused here, calamine never reads.
            let Ok(found) = found(document.as_bytes(), 1 + draw(7)) else { continue };
            let (expected, whole) = expected(document.as_bytes());
            let agree = if whole { found == expected } else { found.starts_with(&expected) };
            assert!(agree, "{document:?}: {found:?} is not {expected:?}");
            agreed += 1;
        }
        assert!(agreed > 20_000, "{agreed}");
    }

    #[test]
    fn what_is_longer_than_the_buffer_is_read_whole() {
        let long = "x".repeat(3 * BUFFER_BYTES);
        for document in [format!("<a b='{long}'>"), format!("{long}<a>"), format!("<![CDATA[{long}]]>")] {
            let read = found(document.as_bytes(), usize::MAX).unwrap();
            assert_eq!((read, true), expected(document.as_bytes()));
        }
        let endless = format!("<a b='{}", "x".repeat(EVENT_BYTES));
        let error = found(endless.as_bytes(), usize::MAX).unwrap_err();
        assert!(error.to_string().contains("more than 16777216 bytes"), "{error}");
    }
}

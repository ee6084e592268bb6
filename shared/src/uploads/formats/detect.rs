//! What a file is, told from its bytes: its outside from the first ones, its encoding from a sample or,
//! while it is read, from all of them.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// Bytes that detection wants to see of a file's beginning.
pub const HEAD_BYTES: usize = 64 << 10;
/// Bytes from which an old encoding is guessed.
const SAMPLE_BYTES: usize = 1 << 20;

/// What a file is on the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// Text, as far as one can see.
    Plain,
    /// Compressed by gzip.
    Gzip,
    /// Compressed by zstd.
    Zstd,
    /// An archive, or one of the office formats that are archives.
    Zip,
    /// Microsoft's container of before 2007; protected workbooks still use it.
    OldExcel,
}

/// Tells a file's outside from its first bytes.
pub fn outside(head: &[u8]) -> Outside {
    match head {
        [0x1f, 0x8b, ..] => Outside::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Outside::Zstd,
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Outside::Zip,
        [0xd0, 0xcf, 0x11, 0xe0, ..] => Outside::OldExcel,
        _ => Outside::Plain,
    }
}

/// Another program's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign {
    /// What it is.
    pub words: &'static str,
    /// What helps.
    pub mend: Mend,
}

/// What helps against a file that is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mend {
    /// The program that made it can write tables.
    Export,
    /// The table is inside.
    Unpack,
    /// A text: all that is known of it are its first characters, which could be a column's name.
    ExportOrRename,
}

impl Mend {
    /// What to do.
    pub fn words(self) -> &'static str {
        match self {
            Self::Export => "export the table as CSV or XLSX",
            Self::Unpack => "unpack it and upload the CSV or XLSX itself",
            Self::ExportOrRename => {
                "export the table as CSV or XLSX. If it is a table whose first column has such a name, give that \
                 column another"
            }
        }
    }
}

/// What a file is that is plainly neither text with fields nor any packing of it; told from its first
/// bytes.
pub fn foreign(head: &[u8]) -> Option<Foreign> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let text = |words| Some(Foreign { words, mend: Mend::ExportOrRename });
    if looks_like_json(head) {
        return text("a JSON file");
    }
    let mime = infer::get(head).map_or("", |kind| kind.mime_type());
    let (words, mend) = match mime {
        "text/html" => return text("an HTML page (some systems give such a page the name of an Excel file)"),
        "text/xml" => return text("an XML file"),
        "application/pdf" => return text("a PDF document"),
        "application/rtf" => return text("a text document (RTF)"),
        "application/x-bzip2" => ("a file compressed by bzip2", Mend::Unpack),
        "application/x-xz" => ("a file compressed by xz", Mend::Unpack),
        "application/x-7z-compressed" => ("a 7z archive", Mend::Unpack),
        "application/vnd.rar" => ("a RAR archive", Mend::Unpack),
        _ if is_tar(head) => ("a tar archive", Mend::Unpack),
        _ if head.starts_with(b"PAR1") => ("a Parquet file", Mend::Export),
        "application/vnd.sqlite3" => ("an SQLite database", Mend::Export),
        _ if mime.starts_with("image/") => ("a picture", Mend::Export),
        _ if is_zlib(head) => ("a file compressed by zlib", Mend::Unpack),
        _ => return None,
    };
    // Short marks could begin a text too.
    let binary = |byte: &u8| *byte < 0x20 && !b"\t\n\r\x0c".contains(byte);
    head.iter().any(binary).then_some(Foreign { words, mend })
}

/// Whether a tar archive's first header adds up, whatever tar wrote it (the oldest have no mark).
fn is_tar(head: &[u8]) -> bool {
    let Some((before, rest)) = head.split_at_checked(148) else { return false };
    let Some((stated, after)) = rest.split_at_checked(8) else { return false };
    let Some(after) = after.get(..512 - 156) else { return false };
    let digits =
        stated.iter().skip_while(|byte| **byte == b' ').take_while(|byte| (b'0'..=b'7').contains(byte));
    let stated = digits.fold(0u32, |sum, digit| sum * 8 + u32::from(digit - b'0'));
    // The field of the sum counts as blanks.
    stated == before.iter().chain(after).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ')
}

/// The two bytes of a zlib stream with the usual window: a check sum over them, no dictionary.
fn is_zlib(head: &[u8]) -> bool {
    matches!(head, [0x78, flags, ..] if flags & 0x20 == 0 && (0x7800 + u16::from(*flags)).is_multiple_of(31))
}

/// An object, or an array of objects or arrays. A header may begin with `[` too: `[id],[amount]`.
fn looks_like_json(head: &[u8]) -> bool {
    let mut bytes = head.iter().filter(|byte| !byte.is_ascii_whitespace());
    matches!((bytes.next(), bytes.next()), (Some(b'{'), Some(b'"' | b'}')) | (Some(b'['), Some(b'{' | b'[')))
}

/// UTF-16 where a text begins with its mark, or where many of every other byte of its beginning are zero.
pub fn utf16(head: &[u8]) -> Option<&'static Encoding> {
    match head {
        [0xff, 0xfe, ..] => return Some(UTF_16LE),
        [0xfe, 0xff, ..] => return Some(UTF_16BE),
        _ => {}
    }
    let pairs = &head[..head.len().min(4096)].as_chunks::<2>().0;
    let zeros = |side: usize| pairs.iter().filter(|pair| pair[side] == 0).count();
    let (first, second) = (zeros(0), zeros(1));
    // Even a text in another script has delimiters, digits and line ends, whose high byte is zero.
    let many = pairs.len() / 5;
    if pairs.len() < 2 || first.max(second) <= many {
        None
    // Some letters have a zero for their low byte.
    } else if first <= second / 10 {
        Some(UTF_16LE)
    } else if second <= first / 10 {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// What all the bytes of a text say of its encoding.
#[derive(Default)]
pub struct Seen {
    invalid: bool,
    multibyte: bool,
    sample: Option<(EncodingDetector, usize)>,
}

impl Seen {
    /// Looks at more whole records.
    pub fn look(&mut self, text: &[u8]) {
        if self.invalid && self.multibyte {
            return;
        }
        let from = match std::str::from_utf8(text) {
            Ok(valid) => {
                self.multibyte = self.multibyte || !valid.is_ascii();
                return;
            }
            Err(error) => error.valid_up_to(),
        };
        self.invalid = true;
        self.multibyte = self.multibyte || text.utf8_chunks().any(|chunk| !chunk.valid().is_ascii());
        let (detector, taken) =
            self.sample.get_or_insert_with(|| (EncodingDetector::new(Iso2022JpDetection::Deny), 0));
        let part = &text[from..text.len().min(from + SAMPLE_BYTES.saturating_sub(*taken))];
        detector.feed(part, false);
        *taken += part.len();
    }

    /// The old encoding that the text seems to have: it is no UTF-8, and nothing in it looks as if it
    /// were. A text with both kinds of bytes is UTF-8 with some bad records.
    pub fn legacy(&self) -> Option<&'static Encoding> {
        let (detector, _) = self.sample.as_ref().filter(|_| self.invalid && !self.multibyte)?;
        let guess = detector.guess(None, Utf8Detection::Deny);
        (guess != UTF_8).then_some(guess)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf16_is_known_with_and_without_its_mark() {
        let text = "id;amount\r\n1;2\r\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(utf16(&little), Some(UTF_16LE));
        assert_eq!(utf16(&big), Some(UTF_16BE));
        assert_eq!(utf16(&[b"\xff\xfe".as_slice(), &little].concat()), Some(UTF_16LE));
        assert_eq!(utf16(&[b"\xfe\xff".as_slice(), &big].concat()), Some(UTF_16BE));
        let greek: Vec<u8> = "όνομα;ποσό\n1;2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(utf16(&greek), Some(UTF_16LE));
        for other in ["", "a", "id,amount\n1,2\n", "id\0,amount"] {
            assert_eq!(utf16(other.as_bytes()), None, "{other:?}");
        }
    }

    #[test]
    fn files_of_other_programs_are_known_and_tables_are_not_taken_for_them() {
        for (head, words) in [
            (&b"%PDF-1.7\n%\xe2\xe3"[..], "a PDF document"),
            (b"<!DOCTYPE html>\n<html>", "an HTML page"),
            (b"\n  <html>\n<table>", "an HTML page"),
            (b"<?xml version=\"1.0\"?>", "an XML file"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a picture"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "a picture"),
            (b"BZh91AY&SY\x01", "compressed by bzip2"),
            (b"\xfd7zXZ\0\0\x04", "compressed by xz"),
            (b"7z\xbc\xaf\x27\x1c\0\x04", "a 7z archive"),
            (b"Rar!\x1a\x07\x01\0", "a RAR archive"),
            (b"SQLite format 3\0", "an SQLite database"),
            (b"PAR1\x15\x04", "a Parquet file"),
            (b"{\\rtf1\\ansi", "a text document"),
            (b"x\x9c\x4b\xcc\x01\x02", "compressed by zlib"),
            (b"x\xda\x4b\0", "compressed by zlib"),
            (b"[\n  {\"id\": 1}]", "a JSON file"),
            (b"\xef\xbb\xbf{\"id\": 1}\n{\"id\": 2}", "a JSON file"),
        ] {
            let found = foreign(head).map(|foreign| foreign.words).unwrap_or_default();
            assert!(found.contains(words), "{:?}: {found:?}", String::from_utf8_lossy(head));
        }
        for table in [
            "",
            "id,amount\n",
            "[id],[amount]\n",
            "BM,x\n",
            "BZh,x\n",
            "GIF8,x\n",
            "PAR1,x\n",
            "\"a\",b\n",
            "x^2,y\n",
        ] {
            assert_eq!(foreign(table.as_bytes()), None, "{table:?}");
        }
    }

    #[test]
    fn a_text_is_of_an_old_encoding_only_if_nothing_in_it_is_utf8() {
        let guess = |parts: &[&[u8]]| {
            let mut seen = Seen::default();
            parts.iter().for_each(|part| seen.look(part));
            seen.legacy().map(Encoding::name)
        };
        assert_eq!(guess(&[b"plain"]), None);
        assert_eq!(guess(&["Zoë".as_bytes()]), None);
        assert_eq!(guess(&[b"plain", b"M\xfcnchen, caf\xe9 \x80"]), Some("windows-1252"));
        assert_eq!(guess(&["Zoë".as_bytes(), b"M\xfcnchen"]), None);
        assert_eq!(guess(&[b"M\xfcnchen", "Zoë".as_bytes()]), None);
    }
}

//! Rejects as a text file.

use super::{Batches, Shape, cells, trimmed};
use crate::{
    app::AppState,
    error::{ApiError, ApiResult},
};
use bytes::Bytes;
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use futures::Stream;
use shared::uploads::{Reject, Upload, model::FileFormat};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How the text is written.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    encoding: &'static Encoding,
    /// Set where the file's own encoding lacks a character of a record.
    instead: bool,
}

impl Form {
    /// The file's own form, unless a record holds a character that its encoding lacks. That is looked up
    /// before anything is sent.
    pub async fn choose(state: &AppState, upload: &Upload, format: &FileFormat) -> ApiResult<Self> {
        let named = format.encoding.as_deref().and_then(|name| Encoding::for_label(name.as_bytes()));
        let encoding = named.unwrap_or(UTF_8);
        let own = Self { encoding, instead: false };
        if [UTF_8, UTF_16LE, UTF_16BE].contains(&encoding) {
            return Ok(own);
        }
        let header = upload.header.iter().flatten().all(|name| fits(name.as_bytes(), encoding));
        let mut fit = header;
        let mut batches = Batches::new(state.clone(), upload.clone());
        while fit {
            let batch = batches.next().await.map_err(ApiError::internal)?;
            if batch.is_empty() {
                return Ok(own);
            }
            fit = batch.iter().all(|reject| fits(&reject.raw, encoding));
        }
        Ok(Self { encoding: UTF_8, instead: true })
    }

    /// The encoding's name.
    pub fn charset(&self) -> String {
        self.encoding.name().to_ascii_lowercase()
    }

    /// What stands before the first character.
    fn mark(&self) -> &'static [u8] {
        match self.encoding {
            encoding if encoding == UTF_16LE => b"\xff\xfe",
            encoding if encoding == UTF_16BE => b"\xfe\xff",
            _ if self.instead => BYTE_ORDER_MARK,
            _ => b"",
        }
    }

    /// Text in the file's encoding. Records fit; of a reason, what the encoding lacks becomes `?`.
    fn encode(&self, text: Vec<u8>) -> Vec<u8> {
        if self.encoding == UTF_8 {
            return text;
        }
        let text = String::from_utf8_lossy(&text);
        if self.encoding == UTF_16LE {
            return text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        }
        if self.encoding == UTF_16BE {
            return text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        }
        let (bytes, _, lacking) = self.encoding.encode(&text);
        if !lacking {
            return bytes.into_owned();
        }
        let kept: String = text
            .chars()
            .map(|character| {
                let mut buffer = [0; 4];
                if self.encoding.encode(character.encode_utf8(&mut buffer)).2 { '?' } else { character }
            })
            .collect();
        self.encoding.encode(&kept).0.into_owned()
    }
}

fn fits(bytes: &[u8], encoding: &'static Encoding) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| !encoding.encode(text).2)
}

/// Header and records, a batch at a time.
pub fn batches(
    state: AppState,
    upload: Upload,
    form: Form,
    shape: Shape,
) -> impl Stream<Item = anyhow::Result<Bytes>> {
    async_stream::try_stream! {
        let mut first = form.mark().to_vec();
        first.extend(form.encode(csv_record(shape.names(), shape.delimiter)));
        yield Bytes::from(first);
        let mut batches = Batches::new(state, upload);
        loop {
            let rejects = batches.next().await?;
            if rejects.is_empty() {
                break;
            }
            let lines = rejects.iter().fold(Vec::new(), |mut lines, reject| {
                write_reject(&mut lines, reject, &shape);
                lines
            });
            yield Bytes::from(form.encode(lines));
        }
    }
}

fn csv_record(cells: impl IntoIterator<Item = impl AsRef<[u8]>>, delimiter: u8) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
    writer.write_record(cells).expect("a vector takes what is written");
    writer.into_inner().expect("a vector can be flushed")
}

/// The record, then the two columns: always as many cells as the download has columns. A record that is
/// whole keeps its own bytes; one with fewer cells is filled up.
fn write_reject(lines: &mut Vec<u8>, reject: &Reject, shape: &Shape) {
    let raw = trimmed(&reject.raw);
    if cells(raw, shape.delimiter).is_some_and(|cells| shape.fits(cells.len())) {
        lines.extend_from_slice(raw);
        lines.extend(std::iter::repeat_n(shape.delimiter, shape.surplus));
    } else {
        let mut cells = shape.cells(raw);
        cells.resize(shape.width(), Vec::new());
        let record = csv_record(&cells, shape.delimiter);
        lines.extend_from_slice(record.strip_suffix(b"\n").unwrap_or(&record));
    }
    lines.push(shape.delimiter);
    lines.extend_from_slice(&csv_record([&reject.code, &reject.message], shape.delimiter));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reject(raw: &[u8], message: &str) -> Reject {
        Reject {
            line: 2,
            column_name: None,
            code: "code".to_owned(),
            message: message.to_owned(),
            raw: raw.to_vec(),
        }
    }

    /// The columns of a download of a file with `header` columns, the first `own` of them its own.
    fn shape(header: usize, own: usize, surplus: usize) -> Shape {
        let own = (0..own).map(|column| format!("c{column}")).collect();
        Shape { delimiter: b';', header, own, surplus }
    }

    #[test]
    fn a_reject_keeps_its_bytes_and_gains_two_cells() {
        let bad = reject(b"7;\"two\nlines\";\xff\r\n", "amount is \"x\", not a number");
        for (surplus, between) in [(0, &b";"[..]), (2, b";;;")] {
            let mut lines = Vec::new();
            write_reject(&mut lines, &bad, &shape(3, 3, surplus));
            let expected =
                [b"7;\"two\nlines\";\xff", between, b"code;\"amount is \"\"x\"\", not a number\"\n"].concat();
            assert_eq!(lines, expected, "{surplus}");
        }
    }

    #[test]
    fn every_record_of_a_download_has_as_many_cells_as_its_header() {
        let raws =
            ["1;2;3", "1;2", "1;2;3;4", "\"1;2;3", "1;\"a\"b;3", "1;\"x;\"\"y\";3", "", "1,2;3;4", "1;2;3;;"];
        for shape in [shape(3, 3, 0), shape(3, 1, 0), shape(3, 3, 1), shape(5, 3, 1)] {
            let mut lines = Vec::new();
            for raw in raws {
                write_reject(&mut lines, &reject(raw.as_bytes(), "a \"message\"; two"), &shape);
            }
            let mut reader =
                csv::ReaderBuilder::new().delimiter(b';').has_headers(false).from_reader(lines.as_slice());
            let records: Vec<_> = reader.records().map(Result::unwrap).collect();
            assert_eq!(records.len(), raws.len());
            for (record, raw) in records.iter().zip(raws) {
                assert_eq!(record.len(), shape.width() + 2, "{raw} {shape:?}");
                assert_eq!(&record[shape.width()], "code", "{raw} {shape:?}");
            }
            assert_eq!(&records[3][0], "\"1;2;3", "what cannot be split stands whole");
            let surplus: Vec<&str> = records[2].iter().take(4).collect();
            match shape.width() {
                4 => assert_eq!(surplus, ["1", "2", "3", "4"], "each surplus field has its own cell"),
                _ => assert_eq!(surplus[0], "1;2;3;4", "what does not fit stands whole"),
            }
        }
    }

    #[test]
    fn text_goes_in_the_files_own_encoding() {
        let form = |encoding| Form { encoding, instead: false };
        assert_eq!(form(encoding_rs::WINDOWS_1252).encode("Müller €".into()), b"M\xfcller \x80");
        assert_eq!(form(encoding_rs::WINDOWS_1252).encode("ü → 日".into()), b"\xfc ? ?");
        assert_eq!(form(UTF_16LE).encode("a€".into()), b"a\0\xac\x20");
        assert_eq!(form(UTF_16BE).mark(), b"\xfe\xff");
        assert!(
            fits("€".as_bytes(), encoding_rs::WINDOWS_1252)
                && !fits("日".as_bytes(), encoding_rs::WINDOWS_1252)
        );
    }
}

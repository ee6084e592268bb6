//! The forms in which files come, and how each becomes the text that is planned and loaded: UTF-8 records,
//! one a line or several lines. A plain UTF-8 file is that text itself, whatever its delimiter. Everything
//! else (compressed files, other encodings, workbooks) is converted once, in bounded memory, into a second
//! stored file. What a file is, is told by its bytes, never by its name.

mod archive;
mod decode;
pub mod detect;
mod sink;
mod source;
pub mod table;
mod workbook;

use super::model::{Container, FileFormat, FormOptions};
use crate::{
    config::FilesConfig,
    storage::{Storage, StorageError},
};
use archive::Content;
use decode::{Decoded, Growth, decode};
use detect::{HEAD_BYTES, Outside, foreign, outside, utf16};
use encoding_rs::{Encoding, UTF_8};
use sink::Stored;
pub use sink::{Head, Sink};
use source::StoredSource;
use std::{
    io::{BufReader, Read, Seek, SeekFrom},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio_util::sync::CancellationToken;

/// A file that cannot be made into text.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// Why, and what would help.
    #[error("{0}")]
    Refused(String),
    /// The file could not be read, or its text not be written.
    #[error("the stored file cannot be read or written: {0}")]
    Storage(#[from] StorageError),
    /// It was asked to stop.
    #[error("stopped")]
    Stopped,
}

/// A file whose bytes are not what its form says they are.
fn damaged(what: &str, unpacked: u64, error: &dyn std::fmt::Display) -> FormatError {
    FormatError::Refused(format!(
        "The {what} is damaged or cut short after {unpacked} bytes of its content ({error}); make it anew and \
         upload it again."
    ))
}

/// How far a conversion is, and how to stop it.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    /// Ends when it is to stop.
    pub cancel: CancellationToken,
    written: Arc<AtomicU64>,
}

impl Watch {
    /// Stops with a token.
    pub fn new(cancel: CancellationToken) -> Self {
        Self { cancel, written: Arc::default() }
    }

    /// Bytes of text written so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn show(&self, bytes: u64) {
        self.written.store(bytes, Ordering::Relaxed);
    }
}

/// The text of a file.
#[derive(Debug)]
pub struct Text {
    /// Where it is.
    pub key: String,
    /// Its length.
    pub size_bytes: u64,
    /// Whether it was made, and is not the file itself.
    pub converted: bool,
    /// What the file is; delimiter and header row are the planner's to find.
    pub format: FileFormat,
    /// What somebody should know of the file.
    pub warnings: Vec<String>,
}

/// What a conversion found.
#[derive(Debug)]
pub struct Converted {
    /// What the file is.
    pub format: FileFormat,
    /// What somebody should know of it.
    pub warnings: Vec<String>,
    /// Whether the sink wanted all of it.
    pub whole: bool,
    /// Bytes of the file that were read for it.
    pub read: u64,
    /// Rows with cells of a sheet.
    pub rows: Option<SheetRows>,
}

/// How many rows with cells a sheet has.
#[derive(Debug, Clone, Copy)]
pub struct SheetRows {
    /// As many were seen.
    pub counted: u64,
    /// As many there seem to be; the same if all of it was read.
    pub estimated: u64,
}

/// What a file is on its outside, and whether its text is its own bytes.
#[derive(Debug, Clone, Copy)]
pub struct Recognised {
    /// On the outside.
    pub outside: Outside,
    /// The encoding that was given or can be seen.
    pub encoding: Option<&'static Encoding>,
}

impl Recognised {
    /// Whether the file's bytes are its text.
    pub fn is_text(&self) -> bool {
        self.outside == Outside::Plain && self.encoding.is_none_or(|encoding| encoding == UTF_8)
    }
}

/// Recognises a file by its first bytes.
pub fn recognise(head: &[u8], options: &FormOptions) -> Result<Recognised, FormatError> {
    let outside = outside(head);
    if outside == Outside::OldExcel {
        return Err(FormatError::Refused(
            "The file is an old Excel file (XLS), or one that is protected by a password; save the sheet as XLSX \
             or CSV, without a password."
                .to_owned(),
        ));
    }
    if outside == Outside::Plain {
        refuse_foreign(head)?;
    }
    let given = options.encoding.as_deref().map(encoding_named).transpose()?;
    let seen = if outside == Outside::Plain { utf16(head) } else { None };
    Ok(Recognised { outside, encoding: given.or(seen) })
}

/// Refuses what is plainly another program's file.
fn refuse_foreign(head: &[u8]) -> Result<(), FormatError> {
    foreign(head).map_or(Ok(()), |foreign| {
        Err(FormatError::Refused(format!(
            "The file is {}, which is not read; {}.",
            foreign.words,
            foreign.mend.words()
        )))
    })
}

/// The encoding of a WHATWG label.
pub fn encoding_named(label: &str) -> Result<&'static Encoding, FormatError> {
    Encoding::for_label_no_replacement(label.as_bytes()).ok_or_else(|| {
        FormatError::Refused(format!(
            "There is no encoding {:?}; name one as browsers do: utf-8, windows-1252, iso-8859-2, utf-16le …",
            label.chars().take(40).collect::<String>()
        ))
    })
}

/// What a plain UTF-8 file is.
pub fn plain_text() -> FileFormat {
    text_format(Container::Plain, UTF_8, None)
}

fn text_format(container: Container, encoding: &'static Encoding, member: Option<String>) -> FileFormat {
    FileFormat {
        container,
        member,
        encoding: Some(encoding.name().to_owned()),
        delimiter: ',',
        sheet: None,
        sheets: Vec::new(),
        header_row: 1,
    }
}

/// The text of a stored file: the file itself, or made from it under `{key}.text`. Repeating it is
/// harmless: the same text is written again.
pub async fn text_of(
    storage: &Storage,
    key: &str,
    size_bytes: u64,
    options: &FormOptions,
    limits: &FilesConfig,
    watch: &Watch,
) -> Result<Text, FormatError> {
    let head = read_head(storage, key, size_bytes).await?;
    let recognised = recognise(&head, options)?;
    if recognised.is_text() {
        let mut warnings = Vec::new();
        note_unused(options, false, &mut warnings);
        return Ok(Text {
            key: key.to_owned(),
            size_bytes,
            converted: false,
            format: plain_text(),
            warnings,
        });
    }
    let text_key = format!("{key}.text");
    let mut sink = Stored::new(storage.create(&text_key).await?, watch.clone());
    let source = StoredSource::new(storage, key, size_bytes);
    let (trouble, options, limits) = (source.trouble(), options.clone(), *limits);
    let (converted, sink) = tokio::task::spawn_blocking(move || {
        let converted = convert(source, size_bytes, recognised, &options, limits, &mut sink);
        (converted, sink)
    })
    .await
    .map_err(|_| unreadable())?;
    let writer = sink.into_writer();
    match converted {
        Ok(converted) => {
            let stored = writer.finish().await?;
            let Converted { format, warnings, .. } = converted;
            Ok(Text { key: stored.key, size_bytes: stored.size_bytes, converted: true, format, warnings })
        }
        Err(error) => {
            writer.abort().await;
            Err(trouble.take().map_or(error, FormatError::Storage))
        }
    }
}

/// The beginning of a stored file's text, in memory: at most about `bytes` of it.
pub async fn head_of(
    storage: &Storage,
    key: &str,
    size_bytes: u64,
    options: &FormOptions,
    limits: &FilesConfig,
    bytes: usize,
) -> Result<(Vec<u8>, Converted), FormatError> {
    let head = read_head(storage, key, size_bytes).await?;
    let recognised = recognise(&head, options)?;
    if recognised.is_text() {
        let end = size_bytes.min(bytes as u64);
        let text = storage.read_range(key, 0..end).await?.to_vec();
        let mut warnings = Vec::new();
        note_unused(options, false, &mut warnings);
        let whole = end == size_bytes;
        return Ok((text, Converted { format: plain_text(), warnings, whole, read: end, rows: None }));
    }
    let source = StoredSource::new(storage, key, size_bytes);
    let (trouble, options, limits) = (source.trouble(), options.clone(), *limits);
    let mut sink = Head::new(bytes);
    tokio::task::spawn_blocking(move || {
        let converted = convert(source, size_bytes, recognised, &options, limits, &mut sink);
        converted.map(|converted| (sink.text, converted))
    })
    .await
    .map_err(|_| unreadable())?
    .map_err(|error| trouble.take().map_or(error, FormatError::Storage))
}

/// A reader gave up in a way that none should (its panic is logged).
fn unreadable() -> FormatError {
    FormatError::Refused("The file is damaged in a way that cannot be read; save it anew.".to_owned())
}

async fn read_head(storage: &Storage, key: &str, size_bytes: u64) -> Result<bytes::Bytes, StorageError> {
    storage.read_range(key, 0..size_bytes.min(HEAD_BYTES as u64)).await
}

/// Makes a file's text. Reads and unpacks as it goes: what is in memory does not grow with the file, but
/// for a workbook's shared strings.
pub fn convert(
    source: impl Read + Seek + Send,
    size_bytes: u64,
    recognised: Recognised,
    options: &FormOptions,
    limits: FilesConfig,
    sink: &mut dyn Sink,
) -> Result<Converted, FormatError> {
    let mut growth = Growth::new(size_bytes, limits);
    let read = Arc::<AtomicU64>::default();
    let source = Counted { inner: source, read: read.clone() };
    let mut source = BufReader::with_capacity(64 << 10, source);
    let encoding = recognised.encoding;
    let (decoded, container, member) = match recognised.outside {
        Outside::OldExcel | Outside::Plain => {
            (decode(&mut source, encoding, &mut growth, "file", sink)?, Container::Plain, None)
        }
        Outside::Gzip => {
            let mut reader = flate2::bufread::MultiGzDecoder::new(source);
            (decode(&mut reader, encoding, &mut growth, "gzip file", sink)?, Container::Gzip, None)
        }
        Outside::Zstd => {
            let mut reader = zstd::stream::read::Decoder::with_buffer(source)
                .map_err(|error| damaged("zstd file", 0, &error))?;
            (decode(&mut reader, encoding, &mut growth, "zstd file", sink)?, Container::Zstd, None)
        }
        Outside::Zip => {
            let mut archive = archive::open(source)?;
            match archive::content(&mut archive)? {
                Content::Workbook => return workbook::convert(archive, options, growth, limits, sink),
                Content::Member(number, name) => {
                    let decoded = archive::decode_member(&mut archive, number, encoding, &mut growth, sink)?;
                    (decoded, Container::Zip, Some(name))
                }
            }
        }
    };
    let mut warnings = Vec::new();
    note_unused(options, false, &mut warnings);
    note_malformed(&decoded, &mut warnings);
    let format = text_format(container, decoded.encoding, member);
    Ok(Converted { format, warnings, whole: decoded.whole, read: read.load(Ordering::Relaxed), rows: None })
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl<R: Seek> Seek for Counted<R> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.inner.seek(to)
    }
}

fn note_malformed(decoded: &Decoded, warnings: &mut Vec<String>) {
    if decoded.malformed > 0 {
        warnings.push(format!(
            "{} places in the file are not {}; each now reads \u{fffd}. If letters are wrong, name the file's encoding.",
            decoded.malformed,
            decoded.encoding.name()
        ));
    }
}

/// Options that say nothing about a file like this one.
fn note_unused(options: &FormOptions, workbook: bool, warnings: &mut Vec<String>) {
    if !workbook && options.sheet.is_some() {
        warnings.push("The file is no workbook: the sheet that was named is not looked for.".to_owned());
    }
    if workbook && (options.encoding.is_some() || options.delimiter.is_some()) {
        warnings
            .push("A workbook has neither encoding nor delimiter: what was named is not used.".to_owned());
    }
}

//! ZIP archives: the one text in them, or what office format they are.

use super::{
    FormatError,
    decode::{Decoded, Growth, decode},
    sink::Sink,
};
use encoding_rs::Encoding;
use std::io::{Error, ErrorKind, Read, Seek, SeekFrom};
use zip::{ZipArchive, result::ZipError};

/// Bytes of an archive's directory that are read: it is held in memory, and it can be made as large as
/// the file.
const DIRECTORY_BYTES: u64 = 8 << 20;
/// Names in a message.
const NAMED: usize = 10;

/// What is in an archive.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// A workbook.
    Workbook,
    /// One file, by its number and name.
    Member(usize, String),
}

/// A reader that gives up after some bytes, while it is told to.
pub struct Bounded<R> {
    inner: R,
    left: Option<u64>,
}

impl<R> Bounded<R> {
    /// Reads at most a directory.
    pub fn new(inner: R) -> Self {
        Self { inner, left: Some(DIRECTORY_BYTES) }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(read as u64).ok_or_else(|| {
                Error::new(ErrorKind::InvalidData, "the archive's directory is larger than 8 MiB")
            })?;
        }
        Ok(read)
    }
}

impl<R: Seek> Seek for Bounded<R> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.inner.seek(to)
    }
}

/// Opens an archive: its directory is read, no member yet.
pub fn open<R: Read + Seek>(source: R) -> Result<ZipArchive<Bounded<R>>, FormatError> {
    let archive = ZipArchive::new(Bounded::new(source)).map_err(|error| refused(&error))?;
    let mut source = archive.into_inner();
    source.left = None;
    source.seek(SeekFrom::Start(0)).map_err(|error| refused(&ZipError::Io(error)))?;
    ZipArchive::new(source).map_err(|error| refused(&error))
}

/// What a ZIP error means for whoever sent the file.
pub fn refused(error: &ZipError) -> FormatError {
    FormatError::Refused(match error {
        ZipError::UnsupportedArchive(why) if why.contains("Password") || why.contains("password") => {
            "The archive is protected by a password; unpack it before you upload it.".to_owned()
        }
        ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_) => format!(
            "The archive is packed in a way that cannot be read ({error}); pack it as a usual ZIP (deflate)."
        ),
        _ => {
            format!("The archive is damaged or cut short ({error}); make it anew, or upload what is inside.")
        }
    })
}

/// Names as they are compared: case and the slashes of Windows do not count.
pub fn normalised(name: &str) -> String {
    name.replace('\\', "/").to_ascii_lowercase()
}

/// Tells what is in an archive; whatever is neither a workbook nor one file is refused.
pub fn content<R: Read + Seek>(archive: &mut ZipArchive<R>) -> Result<Content, FormatError> {
    let mut names = Vec::with_capacity(archive.len());
    for number in 0..archive.len() {
        let name = archive.name_for_index(number).transpose().map_err(|error| refused(&error))?;
        names.push(name.unwrap_or_default().into_owned());
    }
    let known: Vec<String> = names.iter().map(|name| normalised(name)).collect();
    let has = |wanted: &str| known.iter().any(|name| name == wanted);
    let stated = known.iter().position(|name| name == "mimetype").map(|at| stated_type(archive, at));
    if let Some(kind) = foreign(has, stated.transpose()?.as_deref()) {
        return Err(FormatError::Refused(format!("The file is {kind}; save the sheet as XLSX or CSV.")));
    }
    if has("[content_types].xml") && has("_rels/.rels") {
        return Ok(Content::Workbook);
    }
    let noise =
        |name: &str| name.ends_with('/') || name.starts_with("__macosx/") || name.ends_with(".ds_store");
    let members: Vec<usize> = (0..names.len()).filter(|&at| !noise(&known[at])).collect();
    match members[..] {
        [] => Err(FormatError::Refused("The archive holds no file.".to_owned())),
        [one] => Ok(Content::Member(one, names.swap_remove(one))),
        _ => {
            let mut listed: Vec<&str> =
                members.iter().take(NAMED).map(|&member| names[member].as_str()).collect();
            if members.len() > NAMED {
                listed.push("…");
            }
            Err(FormatError::Refused(format!(
                "The archive holds {} files ({}); upload an archive with one of them, or each by itself.",
                members.len(),
                listed.join(", ")
            )))
        }
    }
}

/// What an archive says of itself, as OpenDocument's do in a member of this purpose.
fn stated_type<R: Read + Seek>(archive: &mut ZipArchive<R>, number: usize) -> Result<String, FormatError> {
    let mut stated = Vec::new();
    let mut member = archive.by_index(number).map_err(|error| refused(&error))?.take(100);
    member.read_to_end(&mut stated).map_err(|error| refused(&ZipError::Io(error)))?;
    Ok(String::from_utf8_lossy(&stated).into_owned())
}

/// An office format that is an archive and no XLSX.
fn foreign(has: impl Fn(&str) -> bool, stated: Option<&str>) -> Option<&'static str> {
    let document =
        stated.and_then(|stated| stated.trim().strip_prefix("application/vnd.oasis.opendocument."));
    if has("xl/workbook.bin") {
        Some("a binary Excel workbook (XLSB)")
    } else if document.is_some_and(|document| document.starts_with("spreadsheet")) {
        Some("an OpenDocument spreadsheet (ODS)")
    } else if document.is_some() {
        Some("an OpenDocument file without sheets")
    } else if has("content.xml") && has("meta-inf/manifest.xml") {
        Some("an OpenDocument file (ODS)")
    } else if has("index/document.iwa") || has("index.zip") {
        Some("an Apple Numbers document")
    } else if has("word/document.xml") || has("ppt/presentation.xml") {
        Some("a document without sheets")
    } else {
        None
    }
}

/// Reads the one text of an archive.
pub fn decode_member<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    number: usize,
    encoding: Option<&'static Encoding>,
    growth: &mut Growth,
    sink: &mut dyn Sink,
) -> Result<Decoded, FormatError> {
    let mut member = archive.by_index(number).map_err(|error| refused(&error))?;
    decode(&mut member, encoding, growth, "ZIP archive", sink)
}

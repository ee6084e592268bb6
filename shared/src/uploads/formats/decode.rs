//! Compressed and foreign texts made into UTF-8, piece by piece.

use super::{
    FormatError, damaged,
    detect::{HEAD_BYTES, Outside, foreign, outside, utf16},
    sink::Sink,
};
use crate::config::FilesConfig;
use encoding_rs::{DecoderResult, Encoding, UTF_8};
use std::io::Read;

const PIECE_BYTES: usize = 256 << 10;
/// What a file may unpack to whatever its own size: small files repeat themselves.
pub const FREE_BYTES: u64 = 64 << 20;

/// What unpacking may come to.
#[derive(Debug, Clone, Copy)]
pub struct Growth {
    packed: u64,
    limits: FilesConfig,
    unpacked: u64,
}

impl Growth {
    /// Of a file of `packed` bytes.
    pub fn new(packed: u64, limits: FilesConfig) -> Self {
        Self { packed, limits, unpacked: 0 }
    }

    /// Bytes unpacked so far.
    pub fn unpacked(&self) -> u64 {
        self.unpacked
    }

    /// Adds unpacked bytes, or refuses them.
    pub fn add(&mut self, bytes: u64) -> Result<(), FormatError> {
        self.unpacked += bytes;
        if self.unpacked > self.limits.unpacked_bytes {
            return Err(FormatError::Refused(format!(
                "The file unpacks to more than {} bytes (MILLRACE_MAX_UNPACKED_BYTES); split it.",
                self.limits.unpacked_bytes
            )));
        }
        let ratio = self.limits.unpack_ratio;
        if self.unpacked > FREE_BYTES && self.unpacked > self.packed.saturating_mul(ratio) {
            return Err(FormatError::Refused(format!(
                "The file unpacks to more than {ratio} times its size (MILLRACE_MAX_UNPACK_RATIO), as files do that \
                 are made to fill disks; if it is honest, unpack it before you upload it."
            )));
        }
        Ok(())
    }
}

/// What decoding a text came to.
#[derive(Debug)]
pub struct Decoded {
    /// Its encoding.
    pub encoding: &'static Encoding,
    /// Places that its encoding does not know; each is now U+FFFD.
    pub malformed: u64,
    /// Whether all of it was wanted.
    pub whole: bool,
}

/// Reads a text to its end and hands it on as UTF-8. Without an encoding UTF-16 is told by its look;
/// anything else is handed on as it is.
pub fn decode(
    reader: &mut dyn Read,
    encoding: Option<&'static Encoding>,
    growth: &mut Growth,
    what: &str,
    sink: &mut dyn Sink,
) -> Result<Decoded, FormatError> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut filled = fill(reader, &mut piece[..HEAD_BYTES], growth, what)?;
    let head = &piece[..filled];
    if outside(head) != Outside::Plain {
        return Err(FormatError::Refused(format!(
            "Inside the {what} there is another packed file; upload what is inside, or pack it once."
        )));
    }
    if let Some(foreign) = foreign(head) {
        return Err(FormatError::Refused(format!(
            "Inside the {what} there is {}, which is not read; {}.",
            foreign.words,
            foreign.mend.words()
        )));
    }
    let encoding = encoding.or_else(|| utf16(head)).unwrap_or(UTF_8);
    let mut decoder = (encoding != UTF_8).then(|| encoding.new_decoder_with_bom_removal());
    let (mut text, mut malformed) = (String::with_capacity(3 * PIECE_BYTES), 0);
    loop {
        let last = filled == 0;
        let wanted = match &mut decoder {
            None => sink.take(&piece[..filled])?,
            Some(decoder) => {
                text.clear();
                malformed += decode_piece(decoder, &piece[..filled], last, &mut text);
                sink.take(text.as_bytes())?
            }
        };
        if last || !wanted {
            return Ok(Decoded { encoding, malformed, whole: last });
        }
        filled = fill(reader, &mut piece, growth, what)?;
    }
}

fn decode_piece(decoder: &mut encoding_rs::Decoder, mut piece: &[u8], last: bool, text: &mut String) -> u64 {
    let mut malformed = 0;
    loop {
        let most = decoder.max_utf8_buffer_length_without_replacement(piece.len()).unwrap_or(4 * PIECE_BYTES);
        text.reserve(most.max(16));
        let (result, read) = decoder.decode_to_string_without_replacement(piece, text, last);
        piece = &piece[read..];
        match result {
            DecoderResult::InputEmpty => return malformed,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => {
                malformed += 1;
                text.push('\u{fffd}');
            }
        }
    }
}

/// Fills a buffer as far as the text goes.
fn fill(
    reader: &mut dyn Read,
    buffer: &mut [u8],
    growth: &mut Growth,
    what: &str,
) -> Result<usize, FormatError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => {
                growth.add(read as u64)?;
                filled += read;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(damaged(what, growth.unpacked(), &error)),
        }
    }
    Ok(filled)
}

//! From the file's bytes to text in which `"`, delimiters and line ends are single bytes.
//!
//! UTF-8 and every other superset of ASCII pass through as they are. UTF-16 is recoded on the way
//! in, strictly, so that recoding on the way out gives the same bytes.

use std::borrow::Cow;
use std::io::{self, Read};

use super::error::TableError;

/// How the file's text is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Encoding {
    /// UTF-8, or any other in which the ASCII bytes mean ASCII. Never recoded.
    #[default]
    Bytes,
    /// UTF-16, low byte first, with a byte order mark.
    Utf16Le,
    /// UTF-16, high byte first, with a byte order mark.
    Utf16Be,
}

impl Encoding {
    /// Appends `text`, as the table hands it out, to `out` in the file's encoding.
    pub fn encode(self, text: &[u8], out: &mut Vec<u8>) {
        if self == Encoding::Bytes {
            out.extend_from_slice(text);
            return;
        }
        // The text came out of the decoder, which yields nothing but UTF-8, so nothing is lost.
        for unit in String::from_utf8_lossy(text).encode_utf16() {
            let [low, high] = unit.to_le_bytes();
            out.extend(if self == Encoding::Utf16Le { [low, high] } else { [high, low] });
        }
    }

    /// The text of a whole piece of a file, as the table would hand it out: the inverse of
    /// [`Encoding::encode`].
    ///
    /// # Errors
    ///
    /// When it is no text in this encoding; the error's byte counts from the piece's beginning.
    pub fn decode(self, piece: &[u8]) -> Result<Cow<'_, [u8]>, TableError> {
        if self == Encoding::Bytes {
            return Ok(Cow::Borrowed(piece));
        }
        if !piece.len().is_multiple_of(2) {
            let offset = piece.len() as u64 - 1;
            return Err(TableError::Utf16 { offset, what: "half a unit at the end" });
        }
        let unit = |pair: &[u8]| match self {
            Encoding::Utf16Be => u16::from_le_bytes([pair[1], pair[0]]),
            _ => u16::from_le_bytes([pair[0], pair[1]]),
        };
        let mut text = String::with_capacity(piece.len());
        let mut offset = 0;
        for character in char::decode_utf16(piece.chunks_exact(2).map(unit)) {
            let half_a_pair = |_| TableError::Utf16 { offset, what: "half a pair" };
            let character = character.map_err(half_a_pair)?;
            text.push(character);
            offset += 2 * character.len_utf16() as u64;
        }
        Ok(Cow::Owned(text.into_bytes()))
    }

    /// The encoding that the first bytes of a file show.
    fn sniff(first: &[u8]) -> Result<Encoding, TableError> {
        const RECODE: &str = "save it as UTF-8";
        const UNPACK: &str = "unpack it first";
        let not_text = |what, advice| Err(TableError::NotText { what, advice });
        match first {
            [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => not_text("UTF-32", RECODE),
            [0xFF, 0xFE, ..] => Ok(Encoding::Utf16Le),
            [0xFE, 0xFF, ..] => Ok(Encoding::Utf16Be),
            [0x1F, 0x8B, ..] => not_text("a gzip file", UNPACK),
            [0x28, 0xB5, 0x2F, 0xFD, ..] => not_text("a zstd file", UNPACK),
            [b'P', b'K', 3 | 5, 4 | 6, ..] => {
                not_text("a spreadsheet or zip file", "export it as CSV, or unpack it first")
            }
            [b'P', b'A', b'R', b'1', ..] => not_text("a Parquet file", "export it as CSV"),
            _ if is_utf16_without_mark(first) => {
                not_text("UTF-16 without a byte order mark", RECODE)
            }
            _ => Ok(Encoding::Bytes),
        }
    }
}

/// Text in UTF-16 begins with ASCII in practice: every second byte is NUL, the others never. Read
/// as bytes, it would be cut within its units.
fn is_utf16_without_mark(first: &[u8]) -> bool {
    let nul_at =
        |place: usize| first.chunks_exact(2).all(|pair| pair[place] == 0 && pair[1 - place] != 0);
    first.len() >= 4 && (nul_at(0) || nul_at(1))
}

/// Reads the file and yields it as text.
pub(super) struct TextReader<R> {
    source: R,
    encoding: Encoding,
    /// Bytes that were read from the source, to be handed out or decoded.
    raw: Vec<u8>,
    raw_used: usize,
    /// Decoded text that has not been handed out.
    text: Vec<u8>,
    text_used: usize,
    /// How many bytes of the file were read so far.
    offset: u64,
}

impl<R: Read> TextReader<R> {
    /// Reads as much as it takes to know the encoding.
    pub(super) fn open(source: R) -> Result<TextReader<R>, TableError> {
        const SNIFF_BYTES: usize = 64;
        let mut reader = TextReader {
            source,
            encoding: Encoding::Bytes,
            raw: vec![0; SNIFF_BYTES],
            raw_used: 0,
            text: Vec::new(),
            text_used: 0,
            offset: 0,
        };
        let mut len = 0;
        while len < SNIFF_BYTES {
            match read(&mut reader.source, &mut reader.raw[len..], &mut reader.offset)? {
                0 => break,
                count => len += count,
            }
        }
        reader.raw.truncate(len);
        reader.encoding = Encoding::sniff(&reader.raw)?;
        Ok(reader)
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    pub(super) fn source(&self) -> &R {
        &self.source
    }

    /// How many bytes of the file were read so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.offset
    }

    /// Takes text back that was handed out last: it is handed out again first.
    pub(super) fn unread(&mut self, text: &[u8]) {
        let (from, used) = match self.encoding {
            Encoding::Bytes => (&mut self.raw, &mut self.raw_used),
            _ => (&mut self.text, &mut self.text_used),
        };
        from.splice(..*used, text.iter().copied());
        *used = 0;
    }

    /// Fills `buffer` as far as the file goes; less than the whole means that it has ended.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, TableError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_some(&mut buffer[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, TableError> {
        if self.encoding == Encoding::Bytes {
            return match take(&self.raw, &mut self.raw_used, buffer) {
                0 => read(&mut self.source, buffer, &mut self.offset),
                count => Ok(count),
            };
        }
        loop {
            let count = take(&self.text, &mut self.text_used, buffer);
            if count > 0 || !self.decode_more()? {
                return Ok(count);
            }
        }
    }

    /// Decodes one more piece of the file into `text`; false at its end.
    fn decode_more(&mut self) -> Result<bool, TableError> {
        const PIECE_BYTES: usize = 64 * 1024;
        self.raw.drain(..self.raw_used);
        self.raw_used = 0;
        let left = self.raw.len();
        // The bytes of the sniffing are decoded first, without waiting for more.
        if left < 4 {
            self.raw.resize(left + PIECE_BYTES, 0);
            let count = read(&mut self.source, &mut self.raw[left..], &mut self.offset)?;
            self.raw.truncate(left + count);
            if count == 0 {
                return self.refuse_rest();
            }
        }
        self.text.clear();
        self.text_used = 0;
        self.decode()?;
        Ok(true)
    }

    /// At the end of the file nothing may be left but nothing.
    fn refuse_rest(&self) -> Result<bool, TableError> {
        let offset = self.offset - self.raw.len() as u64;
        match self.raw.len() {
            0 => Ok(false),
            1 | 3 => Err(TableError::Utf16 { offset, what: "half a unit at the end" }),
            _ => Err(TableError::Utf16 { offset, what: "half a pair at the end" }),
        }
    }

    /// Decodes what `raw` holds, up to a unit or pair that goes on in the next piece.
    fn decode(&mut self) -> Result<(), TableError> {
        let start = self.offset - self.raw.len() as u64;
        let unit_at = |at: usize| {
            let &[first, second] = self.raw.get(at..at + 2)? else { return None };
            let pair =
                if self.encoding == Encoding::Utf16Le { [first, second] } else { [second, first] };
            Some(u16::from_le_bytes(pair))
        };
        let mut at = 0;
        while let Some(unit) = unit_at(at) {
            let is_high = (0xD800..0xDC00).contains(&unit);
            let next = if is_high { unit_at(at + 2) } else { None };
            if is_high && next.is_none() {
                break;
            }
            let decoded = char::decode_utf16([unit].into_iter().chain(next)).next();
            let Some(Ok(character)) = decoded else {
                let offset = start + at as u64;
                return Err(TableError::Utf16 { offset, what: "half a pair" });
            };
            self.text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            at += 2 * character.len_utf16();
        }
        self.raw_used = at;
        Ok(())
    }
}

/// Moves what `from` still holds into `buffer`.
fn take(from: &[u8], used: &mut usize, buffer: &mut [u8]) -> usize {
    let count = buffer.len().min(from.len() - *used);
    buffer[..count].copy_from_slice(&from[*used..*used + count]);
    *used += count;
    count
}

fn read(source: &mut impl Read, buffer: &mut [u8], offset: &mut u64) -> Result<usize, TableError> {
    loop {
        match source.read(buffer) {
            Ok(count) => {
                *offset += count as u64;
                return Ok(count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(TableError::Read { offset: *offset, source }),
        }
    }
}

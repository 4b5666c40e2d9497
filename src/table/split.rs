//! Where may a buffer be cut so that no record is?
//!
//! The splitter looks at every byte of the file once, in order, and touches quotes only: between
//! two quotes, `memchr` runs. That is what one thread does for all, so it has to be fast and
//! nothing more; fields are found by the threads that get the blocks. A scanner with wider
//! registers replaces `advance` and nothing else.

use memchr::{memchr, memchr_iter, memchr2_iter, memrchr2};

pub(super) const QUOTE: u8 = b'"';

/// Follows the quotes through a buffer that grows at its end and is cut at its beginning. The
/// buffer always begins where a record begins.
#[derive(Debug)]
pub(super) struct Splitter {
    delimiter: u8,
    /// Up to where the bytes are understood.
    at: usize,
    /// Where the quote stands that is open at `at`.
    open: Option<usize>,
    /// End of the last record that is whole.
    whole: usize,
    /// Whether there may be a quote in the buffer.
    quotes: bool,
}

impl Splitter {
    pub(super) fn new(delimiter: u8) -> Splitter {
        Splitter { delimiter, at: 0, open: None, whole: 0, quotes: false }
    }

    /// End of the last whole record, 0 when there is none.
    pub(super) fn whole(&self) -> usize {
        self.whole
    }

    /// Where the quote stands that is still open.
    pub(super) fn open_quote(&self) -> Option<usize> {
        self.open
    }

    /// Whether there may be a quote in the buffer.
    pub(super) fn quotes(&self) -> bool {
        self.quotes
    }

    /// Reads on to the end of `buffer`. A quote or CR as the last byte waits for its successor,
    /// unless the file is `complete`.
    pub(super) fn advance(&mut self, buffer: &[u8], complete: bool) {
        while self.at < buffer.len() {
            let quote = next_quote(buffer, self.at);
            self.quotes |= quote.is_some();
            let waits = match (self.open, quote) {
                (None, quote) => self.pass_unquoted(buffer, quote, complete),
                (Some(_), None) => {
                    self.at = buffer.len();
                    false
                }
                (Some(_), Some(quote)) => self.pass_inner_quote(buffer, quote, complete),
            };
            if waits {
                return;
            }
        }
    }

    /// Passes the bytes up to the next quote, of which none is within quotes.
    fn pass_unquoted(&mut self, buffer: &[u8], quote: Option<usize>, complete: bool) -> bool {
        let end = quote.unwrap_or(buffer.len());
        if let Some(whole) = last_record_end(buffer, self.at, end, complete) {
            self.whole = whole;
        }
        let Some(quote) = quote else {
            let waits = !complete && buffer.last() == Some(&b'\r');
            self.at = buffer.len() - usize::from(waits);
            return waits;
        };
        let opens = quote == 0 || {
            let before = buffer[quote - 1];
            before == self.delimiter || before == b'\n' || before == b'\r'
        };
        self.open = opens.then_some(quote);
        self.at = quote + 1;
        false
    }

    /// Passes a quote within quotes: the first of two, or the closing one.
    fn pass_inner_quote(&mut self, buffer: &[u8], quote: usize, complete: bool) -> bool {
        match buffer.get(quote + 1) {
            Some(&QUOTE) => self.at = quote + 2,
            None if !complete => {
                self.at = quote;
                return true;
            }
            _ => {
                self.open = None;
                self.at = quote + 1;
            }
        }
        false
    }

    /// The first `len` bytes of the buffer are gone; they ended a record.
    pub(super) fn cut(&mut self, len: usize, left: usize) {
        self.at = self.at.saturating_sub(len);
        self.open = self.open.map(|quote| quote.saturating_sub(len));
        self.whole = self.whole.saturating_sub(len);
        self.quotes &= left > 0;
    }
}

/// The next quote. In files that quote every field it is a few bytes away, and the call of
/// `memchr` costs more than to look at those.
#[inline]
fn next_quote(buffer: &[u8], from: usize) -> Option<usize> {
    near(buffer, from, |byte| byte == QUOTE)
        .or_else(|from| memchr(QUOTE, &buffer[from..]).map(|place| from + place).ok_or(()))
        .ok()
}

/// Looks at the next few bytes one by one; `Err` is where to go on with `memchr`. Most fields end
/// within a dozen bytes: walking a list with every field quoted went from 450 to 330 ms a million
/// rows by it.
#[inline]
pub(super) fn near(bytes: &[u8], from: usize, wanted: impl Fn(u8) -> bool) -> Result<usize, usize> {
    const NEAR: usize = 16;
    let end = bytes.len().min(from + NEAR);
    let found = bytes[from..end].iter().position(|&byte| wanted(byte));
    found.map_or(Err(end), |place| Ok(from + place))
}

/// End of the last record that ends within `from..end`, all of it outside of quotes.
fn last_record_end(buffer: &[u8], from: usize, mut end: usize, complete: bool) -> Option<usize> {
    const NEAR: usize = 16;
    loop {
        if end - from <= NEAR
            && !buffer[from..end].iter().any(|&byte| byte == b'\n' || byte == b'\r')
        {
            return None;
        }
        let place = from + memrchr2(b'\n', b'\r', &buffer[from..end])?;
        let last_byte = place + 1 == buffer.len();
        if buffer[place] == b'\n' || !last_byte || complete {
            return Some(place + 1);
        }
        end = place;
    }
}

/// How many line ends there are in a text: LF, CRLF or a lone CR each count one.
pub fn count_lines(bytes: &[u8]) -> u64 {
    if memchr(b'\r', bytes).is_none() {
        return memchr_iter(b'\n', bytes).count() as u64;
    }
    let lone = |&place: &usize| bytes[place] == b'\n' || bytes.get(place + 1) != Some(&b'\n');
    memchr2_iter(b'\n', b'\r', bytes).filter(lone).count() as u64
}

//! Events as CSV, as JSON lines, or as a spreadsheet.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

#[cfg(feature = "xlsx")]
use super::xlsx::{Cell, Workbook};
use crate::event::Event;
use crate::table::append_cell;

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportFormat {
    /// CSV after RFC 4180, comma-separated, LF line ends, with a header.
    Csv,
    /// One JSON object a line.
    Ndjson,
    /// A spreadsheet (Office Open XML), which goes on on further sheets when one is full.
    #[cfg(feature = "xlsx")]
    Xlsx,
}

/// The columns, in order; in JSON the fields have the same names.
const COLUMNS: [&str; 15] = [
    "sequence",
    "number",
    "action",
    "occurred_at",
    "received_at",
    "source",
    "channel",
    "sender",
    "brand",
    "tier",
    "word",
    "campaign",
    "message_id",
    "note",
    "raw",
];

/// Writes events in one of the formats.
///
/// In CSV a number is its digits without a plus, because a plus begins a formula; texts that
/// would begin one (`=`, `+`, `-`, `@`, tab, carriage return) get an apostrophe in front, as
/// spreadsheets expect (CWE-1236). Both are read back by `import`. JSON and spreadsheets hold
/// numbers with their plus and texts as they are; in a spreadsheet each is marked as text.
pub struct EventWriter<W: Write> {
    out: Out<W>,
    format: ExportFormat,
    mask: bool,
    line: Vec<u8>,
    written: u64,
}

enum Out<W: Write> {
    Lines(W),
    #[cfg(feature = "xlsx")]
    Workbook(Box<Workbook<W>>),
}

/// An event as JSON.
#[derive(Serialize)]
struct Line<'a> {
    sequence: u64,
    number: &'a str,
    action: &'a str,
    occurred_at: String,
    received_at: String,
    source: &'a str,
    channel: &'a str,
    sender: &'a str,
    brand: &'a str,
    tier: &'a str,
    word: &'a str,
    campaign: &'a str,
    message_id: &'a str,
    note: &'a str,
    raw: &'a str,
}

/// Counts; the last line is somebody's.
impl<W: Write> fmt::Debug for EventWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventWriter({:?}, {} written)", self.format, self.written)
    }
}

impl<W: Write> EventWriter<W> {
    /// Begins an export. With `mask`, numbers show their first and last digits only, and their
    /// original spelling is left out.
    ///
    /// # Errors
    ///
    /// When the header can't be written.
    pub fn new(mut out: W, format: ExportFormat, mask: bool) -> io::Result<EventWriter<W>> {
        let out = match format {
            #[cfg(feature = "xlsx")]
            ExportFormat::Xlsx => Out::Workbook(Box::new(Workbook::new(out, &COLUMNS)?)),
            ExportFormat::Ndjson => Out::Lines(out),
            ExportFormat::Csv => {
                writeln!(out, "{}", COLUMNS.join(","))?;
                Out::Lines(out)
            }
        };
        Ok(EventWriter { out, format, mask, line: Vec::new(), written: 0 })
    }

    /// Writes one event.
    ///
    /// # Errors
    ///
    /// When the output refuses it.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        let number = match &event.address {
            Some(address) if self.mask => address.masked(),
            Some(address) => address.to_string(),
            None => String::new(),
        };
        let details = &event.details;
        let line = Line {
            sequence: event.sequence,
            number: &number,
            action: details.action.as_str(),
            occurred_at: event.occurred_at.to_string(),
            received_at: event.received_at.to_string(),
            source: details.source.as_str(),
            channel: &details.channel,
            sender: &details.sender,
            brand: &details.brand,
            tier: details.tier.as_str(),
            word: &details.word,
            campaign: &details.campaign,
            message_id: &details.message_id,
            note: &details.note,
            raw: if self.mask { "" } else { &event.raw },
        };
        self.written += 1;
        let out = match &mut self.out {
            Out::Lines(out) => out,
            #[cfg(feature = "xlsx")]
            Out::Workbook(workbook) => return workbook.row(&line.cells()),
        };
        self.line.clear();
        match self.format {
            ExportFormat::Ndjson => {
                serde_json::to_writer(&mut self.line, &line).map_err(io::Error::other)?;
            }
            _ => line.write_csv(&mut self.line),
        }
        self.line.push(b'\n');
        out.write_all(&self.line)
    }

    /// Events written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Ends the export and gives the output back.
    ///
    /// # Errors
    ///
    /// When the output can't be flushed.
    pub fn finish(self) -> io::Result<W> {
        match self.out {
            Out::Lines(mut out) => out.flush().map(|()| out),
            #[cfg(feature = "xlsx")]
            Out::Workbook(workbook) => workbook.finish(),
        }
    }
}

impl Line<'_> {
    /// All behind the number.
    fn texts(&self) -> [&str; 13] {
        [
            self.action,
            &self.occurred_at,
            &self.received_at,
            self.source,
            self.channel,
            self.sender,
            self.brand,
            self.tier,
            self.word,
            self.campaign,
            self.message_id,
            self.note,
            self.raw,
        ]
    }

    #[cfg(feature = "xlsx")]
    fn cells(&self) -> [Cell<'_>; COLUMNS.len()] {
        let mut cells = [Cell::Text(self.number); COLUMNS.len()];
        cells[0] = Cell::Count(self.sequence);
        for (cell, text) in cells[2..].iter_mut().zip(self.texts()) {
            *cell = Cell::Text(text);
        }
        cells
    }

    fn write_csv(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.sequence.to_string().as_bytes());
        out.push(b',');
        out.extend_from_slice(self.number.trim_start_matches('+').as_bytes());
        for text in self.texts() {
            out.push(b',');
            if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
                append_cell(format!("'{text}").as_bytes(), b',', out);
            } else {
                append_cell(text.as_bytes(), b',', out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Action, Details, Source};
    use crate::number::{Folding, Number, fold};
    use crate::time::Timestamp;

    fn event(note: &str) -> Event {
        let number = Number::from_e164(525_512_345_678).unwrap();
        let mut details = Details::new(Action::OptOut, Source::Keyword);
        details.note = note.to_owned();
        details.word = "BAJA".to_owned();
        Event {
            sequence: 7,
            occurred_at: Timestamp::from_millis(1_700_000_000_000),
            received_at: Timestamp::from_millis(1_700_000_000_500),
            key: Some(fold(number, Folding::default())),
            address: Some(number.into()),
            raw: "+52 55 1234 5678".to_owned(),
            previous: 0,
            details,
        }
    }

    fn exported(format: ExportFormat, mask: bool, note: &str) -> String {
        let mut writer = EventWriter::new(Vec::new(), format, mask).unwrap();
        writer.write(&event(note)).unwrap();
        String::from_utf8(writer.finish().unwrap()).unwrap()
    }

    #[test]
    fn csv_holds_no_cell_that_begins_a_formula() {
        for note in ["=1+1", "+1", "-1", "@sum", "\t=1", "a, \"b\"\n=c"] {
            let text = exported(ExportFormat::Csv, false, note);
            let (header, row) = text.split_once('\n').unwrap();
            assert_eq!(header, COLUMNS.join(","));
            for cell in crate::table::fields(row.trim_end_matches('\n').as_bytes(), b',') {
                let mut scratch = Vec::new();
                let value = cell.value(&mut scratch);
                assert!(!value.first().is_some_and(|it| b"=+-@\t\r".contains(it)), "{row}");
            }
        }
        assert!(exported(ExportFormat::Csv, false, "").ends_with(",'+52 55 1234 5678\n"));
    }

    #[test]
    fn json_lines_hold_the_same_fields() {
        let text = exported(ExportFormat::Ndjson, false, "=1");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let object = value.as_object().unwrap();
        assert!(COLUMNS.iter().all(|column| object.contains_key(*column)));
        assert_eq!(object["number"], "+525512345678");
        assert_eq!(object["note"], "=1");
    }

    #[test]
    fn masked_exports_hold_no_full_number() {
        for format in [ExportFormat::Csv, ExportFormat::Ndjson] {
            let text = exported(format, true, "");
            assert!(!text.contains("525512345678") && !text.contains("1234"), "{text}");
        }
    }
}

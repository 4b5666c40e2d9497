//! How does a table become a spreadsheet, row by row?
//!
//! Writes Office Open XML straight into the output: no temporary file, no memory that grows with
//! the rows, and a download begins at once. Promises: every text stands as it is, whatever it
//! looks like: never a formula, never a number in scientific notation; rows that don't fit on a
//! sheet go on on the next, under the same header; a workbook that was not finished is none.
//! Leaves to others: what the columns are.

use std::io::{self, Write};

use zip::ZipWriter;
use zip::write::{SimpleFileOptions, StreamWriter};

/// Rows of a sheet below its header; spreadsheets take no more.
const ROWS_MAX: u32 = 1_048_575;
/// Bytes that are compressed at once.
const GATHERED_BYTES: usize = 64 << 10;

/// A cell.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'a> {
    Count(u64),
    Text(&'a str),
}

/// A workbook that is being written.
pub(super) struct Workbook<W: Write> {
    zip: ZipWriter<StreamWriter<W>>,
    columns: &'static [&'static str],
    rows_max: u32,
    sheets: usize,
    /// Rows of the sheet, without its header.
    rows: u32,
    gathered: String,
}

impl<W: Write> Workbook<W> {
    /// Begins with the header.
    pub(super) fn new(out: W, columns: &'static [&'static str]) -> io::Result<Workbook<W>> {
        Workbook::with_rows(out, columns, ROWS_MAX)
    }

    fn with_rows(
        out: W,
        columns: &'static [&'static str],
        rows_max: u32,
    ) -> io::Result<Workbook<W>> {
        let zip = ZipWriter::new_stream(out).set_auto_large_file();
        let gathered = String::with_capacity(2 * GATHERED_BYTES);
        let mut workbook = Workbook { zip, columns, rows_max, sheets: 0, rows: 0, gathered };
        workbook.begin_sheet()?;
        Ok(workbook)
    }

    /// Writes a row: a cell for each column.
    pub(super) fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        if self.rows == self.rows_max {
            self.end_sheet()?;
            self.begin_sheet()?;
        }
        self.rows += 1;
        self.cells(self.rows + 1, cells, TEXT_STYLE);
        match self.gathered.len() >= GATHERED_BYTES {
            true => self.drain(),
            false => Ok(()),
        }
    }

    /// Ends the workbook and gives the output back.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.end_sheet()?;
        for (name, text) in parts(self.sheets) {
            self.zip.start_file(name, options())?;
            self.zip.write_all(text.as_bytes())?;
        }
        let mut out = self.zip.finish()?.into_inner();
        out.flush()?;
        Ok(out)
    }

    fn begin_sheet(&mut self) -> io::Result<()> {
        self.sheets += 1;
        self.rows = 0;
        self.zip.start_file(format!("xl/worksheets/sheet{}.xml", self.sheets), options())?;
        self.gathered.push_str(SHEET_BEGIN);
        let header: Vec<Cell<'_>> = self.columns.iter().map(|name| Cell::Text(name)).collect();
        self.cells(1, &header, HEADER_STYLE);
        Ok(())
    }

    fn end_sheet(&mut self) -> io::Result<()> {
        self.gathered.push_str("</sheetData></worksheet>");
        self.drain()
    }

    fn drain(&mut self) -> io::Result<()> {
        self.zip.write_all(self.gathered.as_bytes())?;
        self.gathered.clear();
        Ok(())
    }

    fn cells(&mut self, row: u32, cells: &[Cell<'_>], style: u8) {
        let out = &mut self.gathered;
        out.push_str(&format!("<row r=\"{row}\">"));
        for (column, cell) in (b'A'..=b'Z').map(char::from).zip(cells) {
            match cell {
                Cell::Count(count) => {
                    out.push_str(&format!("<c r=\"{column}{row}\"><v>{count}</v></c>"));
                }
                Cell::Text("") => {}
                Cell::Text(text) => {
                    out.push_str(&format!(
                        "<c r=\"{column}{row}\" s=\"{style}\" t=\"inlineStr\"><is><t xml:space=\"preserve\">"
                    ));
                    push_text(out, text);
                    out.push_str("</t></is></c>");
                }
            }
        }
        out.push_str("</row>");
    }
}

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_level(Some(1)).unix_permissions(0o600)
}

/// A text as XML. What XML can't hold is written as spreadsheets do, `_x001F_`, and so is what
/// would be read as that.
fn push_text(out: &mut String, text: &str) {
    for (at, letter) in text.char_indices() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '_' if is_escape(&text[at..]) => out.push_str("_x005F_"),
            '\t' | '\n' => out.push(letter),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => {
                out.push_str(&format!("_x{:04X}_", u32::from(letter)));
            }
            _ => out.push(letter),
        }
    }
}

fn is_escape(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 7
        && bytes.starts_with(b"_x")
        && bytes[2..6].iter().all(u8::is_ascii_hexdigit)
        && bytes[6] == b'_'
}

/// Places in the list of styles below.
const TEXT_STYLE: u8 = 1;
const HEADER_STYLE: u8 = 2;

/// Text that stays text when somebody edits the cell (format 49), and a bold header.
const STYLES: &str = concat!(
    r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>"#,
    r#"<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">"#,
    r#"<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>"#,
    r#"<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>"#,
    r#"<fills count="2"><fill><patternFill patternType="none"/></fill>"#,
    r#"<fill><patternFill patternType="gray125"/></fill></fills>"#,
    r#"<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>"#,
    r#"<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>"#,
    r#"<cellXfs count="3"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>"#,
    r#"<xf numFmtId="49" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>"#,
    r#"<xf numFmtId="49" fontId="1" fillId="0" borderId="0" xfId="0" applyNumberFormat="1" applyFont="1"/>"#,
    r#"</cellXfs><cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles>"#,
    r#"</styleSheet>"#,
);

/// The header stays in sight.
const SHEET_BEGIN: &str = concat!(
    r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>"#,
    r#"<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">"#,
    r#"<sheetViews><sheetView workbookViewId="0"><pane ySplit="1" topLeftCell="A2" "#,
    r#"activePane="bottomLeft" state="frozen"/></sheetView></sheetViews>"#,
    r#"<sheetFormatPr defaultRowHeight="15" defaultColWidth="18"/><sheetData>"#,
);

/// Everything beside the sheets: written last, because only then it is known how many there are.
fn parts(sheets: usize) -> [(&'static str, String); 5] {
    const XML: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>"#;
    const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006";
    const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    const MAIN: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    const KIND: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml";
    let each = |text: &dyn Fn(usize) -> String| (1..=sheets).map(text).collect::<String>();
    let names = each(&|it| {
        let name = if it == 1 { "optouts".to_owned() } else { format!("optouts {it}") };
        format!(r#"<sheet name="{name}" sheetId="{it}" r:id="rId{it}"/>"#)
    });
    let links = each(&|it| {
        format!(
            r#"<Relationship Id="rId{it}" Type="{OFFICE}/worksheet" Target="worksheets/sheet{it}.xml"/>"#
        )
    });
    let kinds = each(&|it| {
        format!(
            r#"<Override PartName="/xl/worksheets/sheet{it}.xml" ContentType="{KIND}.worksheet+xml"/>"#
        )
    });
    let styles = sheets + 1;
    [
        ("xl/styles.xml", STYLES.to_owned()),
        (
            "xl/workbook.xml",
            format!(
                r#"{XML}<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>{names}</sheets></workbook>"#
            ),
        ),
        (
            "xl/_rels/workbook.xml.rels",
            format!(
                r#"{XML}<Relationships xmlns="{PACKAGE}/relationships">{links}<Relationship Id="rId{styles}" Type="{OFFICE}/styles" Target="styles.xml"/></Relationships>"#
            ),
        ),
        (
            "_rels/.rels",
            format!(
                r#"{XML}<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="rId1" Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>"#
            ),
        ),
        (
            "[Content_Types].xml",
            format!(
                r#"{XML}<Types xmlns="{PACKAGE}/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook.xml" ContentType="{KIND}.sheet.main+xml"/><Override PartName="/xl/styles.xml" ContentType="{KIND}.styles+xml"/>{kinds}</Types>"#
            ),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    const COLUMNS: [&str; 2] = ["sequence", "number"];

    fn part(bytes: &[u8], name: &str) -> Option<String> {
        let mut archive = zip::ZipArchive::new(io::Cursor::new(bytes)).unwrap();
        let mut text = String::new();
        archive.by_name(name).ok()?.read_to_string(&mut text).unwrap();
        Some(text)
    }

    #[test]
    fn texts_stand_as_they_are() {
        let mut workbook = Workbook::new(Vec::new(), &COLUMNS).unwrap();
        let hostile =
            ["=1+1", "+525512345678", "<b>&amp;", "_x0041_", "_x00_", "\u{1}\r\n\t", "\u{202e}é"];
        for (row, text) in (1..).zip(hostile) {
            workbook.row(&[Cell::Count(row), Cell::Text(text)]).unwrap();
        }
        let bytes = workbook.finish().unwrap();
        let sheet = part(&bytes, "xl/worksheets/sheet1.xml").unwrap();
        assert!(!sheet.contains("<f>") && !sheet.contains("<v>+"), "{sheet}");
        for text in [
            ">=1+1</t>",
            ">+525512345678</t>",
            ">&lt;b&gt;&amp;amp;</t>",
            ">_x005F_x0041_</t>",
            ">_x00_</t>",
            ">_x0001__x000D_\n\t</t>",
            ">\u{202e}é</t>",
            "<c r=\"A2\"><v>1</v></c>",
        ] {
            assert!(sheet.contains(text), "{text} {sheet}");
        }
    }

    #[test]
    fn rows_go_on_on_further_sheets() {
        for (rows, sheets) in [(0, 1), (3, 1), (4, 2), (7, 3)] {
            let mut workbook = Workbook::with_rows(Vec::new(), &COLUMNS, 3).unwrap();
            for row in 0..rows {
                workbook.row(&[Cell::Count(row), Cell::Text("x")]).unwrap();
            }
            let bytes = workbook.finish().unwrap();
            let mut found = Vec::new();
            for sheet in 1.. {
                let name = format!("xl/worksheets/sheet{sheet}.xml");
                let Some(text) = part(&bytes, &name) else { break };
                assert!(text.contains(">sequence</t>") && text.ends_with("</worksheet>"));
                found.extend(text.split("<v>").skip(1).map(|it| it.as_bytes()[0] - b'0'));
                let types = part(&bytes, "[Content_Types].xml").unwrap();
                assert!(types.contains(&format!("sheet{sheet}.xml")));
            }
            assert_eq!(found, (0..rows as u8).collect::<Vec<_>>());
            let workbook = part(&bytes, "xl/workbook.xml").unwrap();
            assert_eq!(workbook.matches("<sheet ").count(), sheets);
        }
    }

    #[test]
    fn a_workbook_that_was_not_finished_is_none() {
        let mut bytes = Vec::new();
        let mut workbook = Workbook::new(&mut bytes, &COLUMNS).unwrap();
        workbook.row(&[Cell::Count(1), Cell::Text("x")]).unwrap();
        drop(workbook);
        if let Ok(archive) = zip::ZipArchive::new(io::Cursor::new(&bytes)) {
            assert!(archive.index_for_name("xl/workbook.xml").is_none());
        }
    }
}

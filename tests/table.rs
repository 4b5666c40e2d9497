//! Files of records against a reader that looks at one byte after another, and against csv-core.

mod common;

use optout::table::{
    Block, ColumnChoice, Encoding, HeaderRule, ReadOptions, Record, Shape, Table, TableError,
    append_cell, fold_name,
};

use common::Random;

#[derive(Debug, PartialEq, Clone)]
struct Row {
    bytes: Vec<u8>,
    line: u64,
    cells: Vec<Vec<u8>>,
}

/// The obvious reader: one byte after another, one state. `Err` is the line of an open quote.
fn obvious(text: &[u8], delimiter: u8) -> Result<Vec<Row>, u64> {
    #[derive(PartialEq)]
    enum In {
        Start,
        Plain,
        Quoted,
        QuoteInQuoted,
    }
    let (mut rows, mut state, mut line, mut at, mut quote_line) = (Vec::new(), In::Start, 1, 0, 0);
    let mut row = Row { bytes: vec![], line, cells: vec![vec![]] };
    while let Some(&byte) = text.get(at) {
        let crlf = byte == b'\r' && text.get(at + 1) == Some(&b'\n');
        let ends_line = byte == b'\n' || (byte == b'\r' && !crlf);
        row.bytes.push(byte);
        let cell = row.cells.last_mut().unwrap();
        if state == In::Quoted {
            if byte == b'"' {
                state = In::QuoteInQuoted
            } else {
                cell.push(byte)
            }
            line += u64::from(ends_line);
        } else if state == In::QuoteInQuoted && byte == b'"' {
            cell.push(byte);
            state = In::Quoted;
        } else if state == In::Start && byte == b'"' {
            quote_line = line;
            state = In::Quoted;
        } else if byte == delimiter {
            row.cells.push(vec![]);
            state = In::Start;
        } else if ends_line || crlf {
            if crlf {
                row.bytes.push(b'\n');
                at += 1;
            }
            line += 1;
            rows.push(std::mem::replace(
                &mut row,
                Row { bytes: vec![], line, cells: vec![vec![]] },
            ));
            state = In::Start;
        } else {
            cell.push(byte);
            state = In::Plain;
        }
        at += 1;
    }
    if state == In::Quoted {
        return Err(quote_line);
    }
    if !row.bytes.is_empty() {
        rows.push(row);
    }
    Ok(rows)
}

/// What csv-core makes of the same bytes. It skips blank lines.
fn csv_core_rows(text: &[u8], delimiter: u8) -> Vec<Vec<Vec<u8>>> {
    let mut reader = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
    let (mut rows, mut row, mut field, mut at) = (vec![], vec![], vec![], 0);
    let mut out = vec![0; text.len() + 1];
    loop {
        let (result, read, written) = reader.read_field(&text[at..], &mut out);
        at += read;
        field.extend_from_slice(&out[..written]);
        match result {
            csv_core::ReadFieldResult::Field { record_end } => {
                row.push(std::mem::take(&mut field));
                if record_end {
                    rows.push(std::mem::take(&mut row));
                }
            }
            csv_core::ReadFieldResult::End => return rows,
            csv_core::ReadFieldResult::InputEmpty => {}
            csv_core::ReadFieldResult::OutputFull => {
                unreachable!("the output is as long as the text")
            }
        }
    }
}

fn never(_: &[u8]) -> bool {
    false
}

fn seven_digits(cell: &[u8]) -> bool {
    cell.len() >= 7 && cell.iter().all(u8::is_ascii_digit)
}

/// The cells of the wanted columns.
type Wanted = [Option<Vec<u8>>; 2];

/// Everything that the table says, with two columns wanted.
fn read(text: &[u8], delimiter: u8, block_bytes: usize) -> Result<Vec<(Row, Wanted)>, TableError> {
    let width = obvious(text, delimiter).ok().and_then(|rows| {
        rows.iter()
            .find(|row| row.bytes.iter().any(|byte| !b"\r\n".contains(byte)))
            .map(|row| row.cells.len())
    });
    let second = width.unwrap_or(1).min(3);
    let options = ReadOptions {
        columns: vec![ColumnChoice::Named(second.to_string()), ColumnChoice::Named("1".into())],
        header: HeaderRule::Absent,
        delimiter: Some(delimiter),
        block_bytes,
        ..ReadOptions::default()
    };
    let mut table = Table::open(text, &options, &never)?;
    let shape = Shape::of(&table);
    let (columns, count) = (shape.columns(), shape.column_count());
    assert_eq!(Shape::new(shape.encoding(), shape.delimiter(), &columns, count)?, shape);
    let (mut rows, mut scratch) = (vec![], vec![]);
    for block in table.blocks() {
        let block = block?;
        reads_alike_from_its_middle(&block, &shape);
        let mut seen = 0;
        for record in block.records() {
            assert_eq!(record.range().start, seen, "records leave no gap");
            seen = record.range().end;
            let cells = optout::table::fields(record.body(), delimiter)
                .map(|cell| cell.value(&mut scratch).to_vec())
                .collect();
            let wanted = [0, 1]
                .map(|column| record.cell(column).map(|cell| cell.value(&mut scratch).to_vec()));
            rows.push((Row { bytes: record.bytes().to_vec(), line: record.line(), cells }, wanted));
        }
        assert_eq!(seen, block.bytes().len(), "records fill the block");
    }
    for (row, wanted) in &rows {
        if width.unwrap_or(0) <= 1 {
            // A table of one column: the cell is all that stands on the line.
            assert!(wanted.iter().all(|cell| cell.is_some() && *cell == wanted[0]));
            continue;
        }
        assert_eq!(wanted[1].as_ref(), row.cells.first());
        assert_eq!(wanted[0].as_ref(), row.cells.get(second - 1), "column {second} of {row:?}");
    }
    Ok(rows)
}

/// A piece that begins and ends where a record does is read as within the whole block.
fn reads_alike_from_its_middle(block: &Block, shape: &Shape) {
    let told = |record: Record<'_>| {
        let cells = [0, 1].map(|it| record.cell(it).map(|cell| cell.raw().to_vec()));
        (record.bytes().to_vec(), record.line(), cells)
    };
    let half = block.records().count() / 2;
    let Some(first) = block.records().nth(half) else { return };
    let piece = &block.bytes()[first.range().start..];
    let of_piece: Vec<_> = shape.records(piece, first.line()).map(told).collect();
    assert_eq!(of_piece, block.records().skip(half).map(told).collect::<Vec<_>>());
}

fn hostile_text(random: &mut Random, pieces: usize) -> Vec<u8> {
    const PIECES: [&[u8]; 18] = [
        b"\"",
        b"\"\"",
        b",",
        b",",
        b"\n",
        b"\r\n",
        b"\r",
        b"a",
        b"5512345678",
        b"\0",
        b"\xFF",
        b"\"x\"",
        b"\",\"",
        b"\"a\nb\"",
        b"\n\"",
        b"\"\n",
        b" ",
        b";",
    ];
    // A letter first: NUL and other bytes in turns would be taken for UTF-16.
    let count = random.index(pieces);
    let random_pieces = (0..count).map(|_| PIECES[random.index(PIECES.len())]);
    std::iter::once(&b"zz"[..]).chain(random_pieces).flatten().copied().collect()
}

#[test]
fn any_bytes_in_any_blocks_give_the_rows_of_the_obvious_reader() {
    let mut random = Random::of_test("any_bytes");
    for round in 0..6000 {
        let mut text = hostile_text(&mut random, 40);
        if obvious(&text, b',').is_err() && round % 4 != 0 {
            text.push(b'"');
        }
        let block_bytes = [1, 2, 3, 5, 16, 64, 1 << 16][random.index(7)];
        match (obvious(&text, b','), read(&text, b',', block_bytes)) {
            (Ok(expected), Ok(got)) => {
                let got: Vec<Row> = got.into_iter().map(|(row, _)| row).collect();
                assert_eq!(
                    got,
                    expected,
                    "{:?} in blocks of {block_bytes}",
                    text.escape_ascii().to_string()
                );
                let filled: Vec<_> = expected
                    .iter()
                    .filter(|row| !matches!(&row.bytes[..], b"\n" | b"\r" | b"\r\n"))
                    .map(|row| row.cells.clone())
                    .collect();
                assert_eq!(
                    csv_core_rows(&text, b','),
                    filled,
                    "{:?}",
                    text.escape_ascii().to_string()
                );
            }
            (Err(line), Err(TableError::UnclosedQuote { line: got })) => assert_eq!(got, line),
            (expected, got) => {
                panic!("{:?}: {expected:?}, {got:?}", text.escape_ascii().to_string())
            }
        }
    }
}

#[test]
fn every_prefix_is_whole_rows_or_an_open_quote() {
    let text = b"a,b\r\n\"x\"\"y\",\"1\r\n2\"\r\n,\n\"\"\n\r\r\nlast,\"q\"";
    for len in 0..=text.len() {
        let prefix = &text[..len];
        let got = read(prefix, b',', 4)
            .map(|rows| rows.into_iter().map(|(row, _)| row).collect::<Vec<_>>());
        match obvious(prefix, b',') {
            Ok(rows) => assert_eq!(got.unwrap(), rows, "prefix of {len}"),
            Err(line) => {
                assert!(matches!(got, Err(TableError::UnclosedQuote { line: l }) if l == line))
            }
        }
    }
}

fn utf16(text: &str, big_endian: bool) -> Vec<u8> {
    let mark = "\u{feff}".encode_utf16();
    let swap = |unit: u16| {
        let [a, b] = unit.to_le_bytes();
        if big_endian { [b, a] } else { [a, b] }
    };
    mark.chain(text.encode_utf16()).flat_map(swap).collect()
}

#[test]
fn utf16_is_read_as_text_and_encodes_back_to_the_same_bytes() {
    let long = "teléfono;n😀\r\n".to_owned() + &"525512345678;\"a\r\nñ\"\"😀\"\r\n".repeat(20_000);
    for text in ["phone\n5512345678", "teléfono;n\r\n\"55;12\";😀\r\n", &long] {
        for (big_endian, encoding) in [(false, Encoding::Utf16Le), (true, Encoding::Utf16Be)] {
            let file = utf16(text, big_endian);
            let options = ReadOptions {
                columns: vec![ColumnChoice::Named("1".into())],
                block_bytes: 7,
                ..ReadOptions::default()
            };
            let mut table = Table::open(&file[..], &options, &seven_digits).unwrap();
            assert_eq!(table.encoding(), encoding);
            let mut decoded = [table.preamble(), table.header().unwrap_or_default()].concat();
            for block in table.blocks() {
                decoded.extend_from_slice(block.unwrap().bytes());
            }
            assert_eq!(table.bytes_read(), file.len() as u64);
            assert!(decoded == format!("\u{feff}{text}").as_bytes());
            let mut again = Vec::new();
            encoding.encode(&decoded, &mut again);
            assert!(again == file);
            assert!(*encoding.decode(&file).unwrap() == *decoded);
        }
    }
}

#[test]
fn utf16_that_is_cut_or_broken_is_refused_with_its_byte() {
    let read_all = |file: &[u8]| -> Result<(), TableError> {
        let mut table = Table::open(file, &ReadOptions::default(), &seven_digits)?;
        table.blocks().try_for_each(|block| block.map(drop))
    };
    let whole = utf16("phone\n5512345678\n", false);
    assert!(read_all(&whole).is_ok());
    for (damaged, byte) in [
        ([&whole[..], b"5"].concat(), whole.len()),
        ([&whole[..], b"\x3d\xd8"].concat(), whole.len()),
        ([&whole[..], b"\x3d\xd8\x00"].concat(), whole.len()),
        ([&whole[..], b"\x3d\xd8\x35\x00"].concat(), whole.len()),
        ([&whole[..], b"\x00\xde\x35\x00"].concat(), whole.len()),
    ] {
        assert!(Encoding::Utf16Le.decode(&damaged).is_err());
        let error = read_all(&damaged).unwrap_err();
        assert!(
            matches!(error, TableError::Utf16 { offset, .. } if offset == byte as u64),
            "{error}"
        );
    }
}

#[test]
fn what_is_no_text_is_named() {
    for (file, word) in [
        (&b"\x1f\x8b\x08\0"[..], "gzip"),
        (b"\x28\xb5\x2f\xfd\x04", "zstd"),
        (b"PK\x03\x04\x14", "spreadsheet"),
        (b"PAR1\x15", "Parquet"),
        (b"\xff\xfe\0\0p\0\0\0", "UTF-32"),
        (b"p\0h\0o\0n\0e\0\n\0", "UTF-16 without"),
        (b"\0p\0h\0o\0n\0e\0\n", "UTF-16 without"),
    ] {
        let error = Table::open(file, &ReadOptions::default(), &never).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

fn column_of(text: &str, choice: ColumnChoice) -> Result<(usize, bool), TableError> {
    let options = ReadOptions { columns: vec![choice], ..ReadOptions::default() };
    let table = Table::open(text.as_bytes(), &options, &seven_digits)?;
    Ok((table.columns()[0], table.header().is_some()))
}

#[test]
fn the_column_is_found_by_its_usual_names_in_any_spelling() {
    for (text, column) in [
        ("phone\n1\n", 0),
        ("name,Phone_Number\n", 1),
        ("name,PHONE NUMBER,x\n", 1),
        ("nombre;Teléfono;ciudad\n", 1),
        ("nombre;TELÉFONO\n", 1),
        ("nombre\tTele\u{301}fono\n", 1),
        ("nome|Número de telefone\n", 1),
        ("nome;numero_de_telefone\n", 1),
        ("nombre,Móvil\n", 1),
        ("id,msisdn\n", 1),
        ("id,WA_ID\n", 1),
        ("id,\"Celular\"\n", 1),
        ("a,b,Destinatário\n", 2),
        ("contato,nome\n", 0),
        ("to,body\n", 0),
        // The exact spelling of one name wins over others of the same.
        ("Phone,phone\n", 1),
        ("\u{feff}phone,name\n", 0),
        ("\n\r\nname,phone\n", 1),
    ] {
        assert_eq!(column_of(text, ColumnChoice::Auto).unwrap(), (column, true), "{text:?}");
    }
    let latin1 = b"nombre;tel\xE9fono\n";
    let table = Table::open(&latin1[..], &ReadOptions::default(), &never).unwrap();
    assert_eq!(table.columns(), [1]);
}

#[test]
fn a_list_without_a_header_is_data_from_its_first_line() {
    for (text, column) in [
        ("5512345678\n5512345679\n", 0),
        ("Ana,5512345678\n", 1),
        ("5512345678;Ana\n", 0),
        // A slip in the first number makes it an unreadable row, not a header.
        ("55-1234-567o\n5512345679\n", 0),
        ("\n5512345678\n", 0),
        ("", 0),
    ] {
        assert_eq!(column_of(text, ColumnChoice::Auto).unwrap(), (column, false), "{text:?}");
    }
    assert_eq!(column_of("clientes\n5512345678\n", ColumnChoice::Auto).unwrap(), (0, true));
}

#[test]
fn doubt_about_the_column_is_refused_with_the_candidates() {
    let refusal = |text| column_of(text, ColumnChoice::Auto).unwrap_err().to_string();
    assert!(refusal("phone,mobile\n").contains("\"phone\", \"mobile\""));
    assert!(refusal("phone,mobile\n").contains("--column"));
    assert!(refusal("a,b\nx,y\n").contains("\"a\", \"b\""));
    assert!(refusal("5512345678,5587654321\n").contains("column 1"));
    assert!(refusal("To,5512345678\n").contains("header (column 1) or data (column 2)"));
    // Cells that may be numbers are not repeated.
    assert!(!refusal("Ana,55-1234-5678x\nLuis,1\n").contains("1234"));
}

#[test]
fn a_named_column_is_exact_first_then_folded_then_an_index() {
    let named = |text, name: &str| column_of(text, ColumnChoice::Named(name.into()));
    assert_eq!(named("Tel,TEL,x\n", "TEL").unwrap(), (1, true));
    assert_eq!(named("a,Línea 1\n", "linea 1").unwrap(), (1, true));
    assert_eq!(named("name,phone\n", "2").unwrap(), (1, true));
    assert_eq!(named("2,phone\n", "2").unwrap(), (0, true));
    assert_eq!(named("2,5512345678\n", "2").unwrap(), (1, false));
    assert_eq!(named("Ana,5512345678\n", "2").unwrap(), (1, false));
    assert_eq!(named("5512345678,5587654321\n", "2").unwrap(), (1, false));
    assert_eq!(named("To,5512345678\n", "2").unwrap(), (1, false));
    assert!(matches!(named("Tel,tel,x\n", "TEL"), Err(TableError::AmbiguousColumn { .. })));
    assert!(matches!(named("a,b\n", "c"), Err(TableError::NoSuchColumn { .. })));
    assert!(matches!(named("a,b\n", "3"), Err(TableError::NoSuchIndex { index: 3, columns: 2 })));
    assert!(matches!(named("a,b\n", "0"), Err(TableError::NoSuchIndex { index: 0, .. })));
    assert!(matches!(named("", "phone"), Err(TableError::NoSuchColumn { .. })));
}

#[test]
fn delimiters_are_found_out() {
    for (text, delimiter) in [
        ("phone,name\n1,a\n", b','),
        ("phone;name\n1;Pérez, Ana\n", b';'),
        ("phone\tname\n1\tPérez, Ana; Dra\n", b'\t'),
        ("phone|name\n1|a\n", b'|'),
        ("\"x;y;z\",phone\n\"a;b\",1\n", b','),
        ("name;x,phone\n", b','),
        ("Pérez; Juan,5512345678\n", b','),
        ("phone\n5512345678\n", b','),
        ("sep=;\nphone;a,b\n", b';'),
        ("SEP=^\r\nphone^a,b\r\n", b'^'),
        ("\"sep=|\"\nphone|a\n", b'|'),
        ("\u{feff}sep=\t\nphone\ta\n", b'\t'),
    ] {
        let table = Table::open(text.as_bytes(), &ReadOptions::default(), &seven_digits);
        assert_eq!(table.unwrap().delimiter(), delimiter, "{text:?}");
    }
    for delimiter in [b'"', b'\n', b'\r'] {
        let options = ReadOptions { delimiter: Some(delimiter), ..ReadOptions::default() };
        let error = Table::open(&b"phone\n"[..], &options, &never).unwrap_err();
        assert!(matches!(error, TableError::Delimiter { .. }));
    }
}

#[test]
fn prologue_and_lines_are_right_behind_mark_sep_and_blank_lines() {
    let text = "\u{feff}sep=;\r\n\r\n\"pho\nne\";phone\r\n1;2\r\n";
    let mut table = Table::open(text.as_bytes(), &ReadOptions::default(), &seven_digits).unwrap();
    assert_eq!(table.preamble(), "\u{feff}sep=;\r\n\r\n".as_bytes());
    assert_eq!(table.header().unwrap(), b"\"pho\nne\";phone\r\n");
    assert_eq!((table.line_end(), table.column_count()), (&b"\r\n"[..], 2));
    let block = table.next_block().unwrap().unwrap();
    assert_eq!(block.records().next().unwrap().line(), 5);
}

#[test]
fn a_stray_quote_or_a_giant_line_ends_at_the_limit() {
    let limit = 1 << 20;
    let options =
        ReadOptions { record_bytes_max: limit, block_bytes: 4096, ..ReadOptions::default() };
    let read_all = |text: &[u8]| -> Result<u64, TableError> {
        let mut table = Table::open(text, &options, &seven_digits)?;
        table.blocks().try_fold(0, |rows, block| Ok(rows + block?.records().count() as u64))
    };
    let many = "5512345678,x\n".repeat(400_000);
    let stray = format!("phone,x\n5512345678,\"oops\n{many}");
    let error = read_all(stray.as_bytes()).unwrap_err();
    assert!(
        matches!(error, TableError::RecordTooLong { line: 2, quote_line: Some(2), bytes_max } if bytes_max == limit),
        "{error}"
    );
    let giant = format!("phone,x\n{}\n", "9".repeat(3 << 20));
    assert!(matches!(
        read_all(giant.as_bytes()),
        Err(TableError::RecordTooLong { line: 2, quote_line: None, .. })
    ));
    let giant_first = "9".repeat(3 << 20);
    assert!(matches!(
        read_all(giant_first.as_bytes()),
        Err(TableError::RecordTooLong { line: 1, .. })
    ));
    let just_fits = format!("phone,x\n{},y\n1,2\n", "9".repeat(limit - 3));
    assert_eq!(read_all(just_fits.as_bytes()).unwrap(), 2);
    // A quote within a field is data.
    let inner = format!("phone,x\n5512345678,5\" pipe\n{many}");
    assert_eq!(read_all(inner.as_bytes()).unwrap(), 400_001);
}

#[test]
fn a_written_cell_reads_back() {
    for value in ["", "plain", "a,b", "say \"hi\"", "two\nlines", "\r", "\""] {
        let mut text = Vec::new();
        append_cell(value.as_bytes(), b',', &mut text);
        let cell = optout::table::fields(&text, b',').next().unwrap();
        assert_eq!(cell.value(&mut Vec::new()), value.as_bytes());
    }
    assert_eq!(fold_name("  Número-de_TELÉFONO: ".as_bytes()), "numerodetelefono");
}

/// The values of the only wanted column.
fn values_of(text: &str, column: ColumnChoice) -> Vec<String> {
    let options = ReadOptions { columns: vec![column], ..ReadOptions::default() };
    let mut table = Table::open(text.as_bytes(), &options, &seven_digits).unwrap();
    let mut scratch = Vec::new();
    let mut values = Vec::new();
    for block in table.blocks() {
        for record in block.unwrap().records() {
            let value = record.cell(0).unwrap().value(&mut scratch);
            values.push(String::from_utf8(value.to_vec()).unwrap());
        }
    }
    values
}

#[test]
fn a_second_number_behind_a_comma_in_a_list_of_one_column_was_lost() {
    let text = "telefono\n5512345678,5587654321\n5512345679\n";
    assert_eq!(values_of(text, ColumnChoice::Auto), ["5512345678,5587654321", "5512345679"]);
    let text = "5512345679\n5512345678,5587654321\n";
    assert_eq!(values_of(text, ColumnChoice::Auto), ["5512345679", "5512345678,5587654321"]);
}

#[test]
fn the_first_column_of_a_table_under_a_title_was_taken_for_the_numbers() {
    let text = "Bajas de mayo\nid,telefono\n1001234567,5512345678\n";
    let values = values_of(text, ColumnChoice::Auto);
    assert_eq!(values, ["id,telefono", "1001234567,5512345678"]);
}

#[test]
fn a_row_with_two_numbers_in_the_chosen_column_was_taken_for_a_header() {
    // Two numbers look like no value, and the first cell is a name that is known.
    let options =
        ReadOptions { columns: vec![ColumnChoice::Named("2".into())], ..ReadOptions::default() };
    let text = "celular,5512345678 / 5587654321\nfijo,5512345679\n";
    let table = Table::open(text.as_bytes(), &options, &never).unwrap();
    assert_eq!((table.header(), table.columns()), (None, &[1][..]));
}

#[test]
fn a_numbered_column_beside_a_known_name_was_taken_for_a_number() {
    // `field_100` can be read as a number: its calling code is 1.
    let reads = |cell: &[u8]| cell == b"field_100" || seven_digits(cell);
    let table = Table::open(&b"field_100,phone\n7,1\n"[..], &ReadOptions::default(), &reads);
    let table = table.unwrap();
    assert_eq!((table.header().is_some(), table.columns()), (true, &[1][..]));
    // A whole number there is still a reason to ask.
    assert!(
        Table::open(&b"tel 5512345678,phone\n"[..], &ReadOptions::default(), &|cell| {
            cell.starts_with(b"tel 55")
        })
        .is_err()
    );
}

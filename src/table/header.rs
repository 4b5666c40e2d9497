//! Is the first record a header, and which column is meant?
//!
//! Doubt is refused: the wrong column would make every row of a list unreadable, or worse,
//! readable. Names match exactly first, then without regard to case, accents and separators.

use super::error::TableError;

/// Whether the first record names the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HeaderRule {
    /// Found out from the first record.
    #[default]
    Detect,
    /// It does.
    Present,
    /// It is data.
    Absent,
}

/// Which column is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum ColumnChoice {
    /// The one with a name that is usual for phone numbers; without a header, the only one whose
    /// first cell looks like a value.
    #[default]
    Auto,
    /// The one with this name; if there is none and it is all digits, the one with this index,
    /// from 1.
    Named(String),
}

/// The columns that [`ColumnChoice::Auto`] knows, as [`fold_name`] writes them.
const KNOWN: &[&str] = &[
    // English, and the fields of providers' interfaces.
    "cell",
    "cellnumber",
    "cellphone",
    "cellphonenumber",
    "contactnumber",
    "contactphone",
    "destination",
    "destinationnumber",
    "e164",
    "mobile",
    "mobileno",
    "mobilenumber",
    "mobilephone",
    "mobilephonenumber",
    "msisdn",
    "number",
    "phone",
    "phonee164",
    "phoneno",
    "phonenumber",
    "phonenumbers",
    "phones",
    "recipient",
    "recipientnumber",
    "recipientphone",
    "recipients",
    "telephone",
    "telephonenumber",
    "to",
    "waid",
    "whatsapp",
    "whatsappid",
    "whatsappnumber",
    "whatsappphone",
    // Spanish.
    "cel",
    "celular",
    "celulares",
    "contacto",
    "destinatario",
    "destino",
    "movil",
    "numero",
    "numerocelular",
    "numerodecelular",
    "numerodecontacto",
    "numerodemovil",
    "numerodetelefono",
    "numerodewhatsapp",
    "numerodestino",
    "numeromovil",
    "numeros",
    "numerotelefono",
    "numerotelefonico",
    "numerowhatsapp",
    "tel",
    "telefono",
    "telefonocelular",
    "telefonodecontacto",
    "telefonomovil",
    "telefonos",
    // Portuguese.
    "contato",
    "destinatarios",
    "fone",
    "numerodecontato",
    "numerodotelefone",
    "numerodetelefone",
    "numerodocelular",
    "numerotelefone",
    "telefone",
    "telefonecelular",
    "telefones",
    "telemovel",
];

/// A name without case, accents and separators: `Número de teléfono` is `numerodetelefono`.
/// Bytes that are no UTF-8 are read as Latin-1, in which old spreadsheets write.
pub fn fold_name(name: &[u8]) -> String {
    let text = std::str::from_utf8(name)
        .map_or_else(|_| name.iter().copied().map(char::from).collect(), str::to_owned);
    text.chars()
        .flat_map(char::to_lowercase)
        .filter_map(|character| match character {
            'à'..='å' => Some('a'),
            'ç' => Some('c'),
            'è'..='ë' => Some('e'),
            'ì'..='ï' => Some('i'),
            'ñ' => Some('n'),
            'ò'..='ö' => Some('o'),
            'ù'..='ü' => Some('u'),
            // Accents written as characters of their own, and what stands between words.
            '\u{300}'..='\u{36f}' | '_' | '-' | '.' | ':' | '\u{feff}' => None,
            other => (!other.is_whitespace()).then_some(other),
        })
        .collect()
}

/// Whether the name is one of those usual for phone numbers.
pub(super) fn is_known_name(name: &[u8]) -> bool {
    KNOWN.contains(&fold_name(name).as_str())
}

/// What the first record is, and where the wanted columns stand.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) has_header: bool,
    pub(super) columns: Vec<usize>,
}

/// Reads the layout off the cells of the first record that isn't blank.
pub(super) fn layout(
    first: &[Vec<u8>],
    choices: &[ColumnChoice],
    rule: HeaderRule,
    looks_like_value: &dyn Fn(&[u8]) -> bool,
) -> Result<Layout, TableError> {
    let values: Vec<usize> =
        (0..first.len()).filter(|&column| looks_like_value(&first[column])).collect();
    let has_header = match rule {
        HeaderRule::Present => true,
        HeaderRule::Absent => false,
        HeaderRule::Detect => detect_header(first, choices, &values)?,
    };
    let columns = choices
        .iter()
        .map(|choice| match (choice, has_header) {
            (ColumnChoice::Auto, true) => known_column(first),
            (ColumnChoice::Auto, false) => value_column(first, &values),
            (ColumnChoice::Named(name), true) => named_column(first, name),
            (ColumnChoice::Named(name), false) => indexed_column(first, name),
        })
        .collect::<Result<_, _>>()?;
    Ok(Layout { has_header, columns })
}

fn detect_header(
    first: &[Vec<u8>],
    choices: &[ColumnChoice],
    values: &[usize],
) -> Result<bool, TableError> {
    if first.is_empty() {
        return Ok(false);
    }
    let names = choices.iter().filter_map(|choice| match choice {
        ColumnChoice::Named(name) => Some(name),
        ColumnChoice::Auto => None,
    });
    let mut indexes = Vec::new();
    for name in names {
        match index_in(name) {
            // Among values, a cell that happens to be "2" is a value too and names nothing.
            Some(_) if matching(first, name).is_empty() || !values.is_empty() => {
                indexes.push(name);
            }
            // A name: there is a header, or else the choice fails with the names that there are.
            _ => return Ok(true),
        }
    }
    let known = (0..first.len()).find(|&column| is_known_name(&first[column]));
    let all_chosen = choices.iter().all(|choice| *choice != ColumnChoice::Auto);
    // Beside a known name, `field_100` is one too, though a number could be read out of it.
    let value = match known {
        Some(_) => values.iter().find(|&&column| !is_numbered_word(&first[column])),
        None => values.first(),
    };
    match (known, value) {
        // A known word in one column makes no header of a number with a slip in the chosen one.
        (Some(_), _) if all_chosen => Ok(header_at_indexes(first, &indexes, values)),
        (Some(_), None) => Ok(true),
        (None, Some(_)) => Ok(false),
        (Some(name), Some(&value)) => {
            Err(TableError::HeaderInDoubt { name: name + 1, value: value + 1 })
        }
        // Neither. A word can be a name and never a number; what has digits could be a number
        // with a slip in it, and must be counted as such.
        (None, None) => Ok(if indexes.is_empty() {
            first.len() > 1 || is_word(&first[0])
        } else {
            header_at_indexes(first, &indexes, values)
        }),
    }
}

/// Whether the first record is a header, judged by the columns that are asked for by index.
fn header_at_indexes(first: &[Vec<u8>], indexes: &[&String], values: &[usize]) -> bool {
    indexes.first().and_then(|name| index_in(name)?.checked_sub(1)).is_some_and(|column| {
        !values.contains(&column)
            && first.get(column).is_some_and(|cell| is_known_name(cell) || is_word(cell))
    })
}

/// Whether the cell can be the name of a column: something, with few digits in it.
fn is_word(cell: &[u8]) -> bool {
    const DIGITS_MAX: usize = 2;
    let digits = cell.iter().filter(|byte| byte.is_ascii_digit()).count();
    digits <= DIGITS_MAX && cell.iter().any(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii())
}

/// Whether the cell has letters, and fewer digits than a number with its area code.
fn is_numbered_word(cell: &[u8]) -> bool {
    const DIGITS_MIN: usize = 7;
    let digits = cell.iter().filter(|byte| byte.is_ascii_digit()).count();
    digits < DIGITS_MIN && cell.iter().any(u8::is_ascii_alphabetic)
}

/// The one column with a known name. Of several spellings of one name, the exact one.
fn known_column(first: &[Vec<u8>]) -> Result<usize, TableError> {
    let known: Vec<usize> =
        (0..first.len()).filter(|&column| is_known_name(&first[column])).collect();
    let one_name =
        known.windows(2).all(|pair| fold_name(&first[pair[0]]) == fold_name(&first[pair[1]]));
    let exact = known
        .iter()
        .copied()
        .filter(|&column| KNOWN.iter().any(|name| name.as_bytes() == first[column]));
    match (&known[..], &exact.collect::<Vec<_>>()[..]) {
        ([], _) if first.is_empty() => Ok(0),
        ([], _) if first.len() == 1 => Ok(0),
        ([], _) => Err(TableError::NoKnownColumn { columns: names(first) }),
        (&[column], _) => Ok(column),
        (_, &[column]) if one_name => Ok(column),
        _ => Err(TableError::AmbiguousColumn {
            candidates: known.iter().map(|&column| name(&first[column])).collect(),
        }),
    }
}

/// The one column whose first cell looks like a value. A list of one column needs no look.
fn value_column(first: &[Vec<u8>], values: &[usize]) -> Result<usize, TableError> {
    match values {
        _ if first.len() <= 1 => Ok(0),
        &[column] => Ok(column),
        // The cells are people's data: they are named by their place.
        [] => {
            Err(TableError::AmbiguousColumn { candidates: (1..=first.len()).map(place).collect() })
        }
        several => Err(TableError::AmbiguousColumn {
            candidates: several.iter().map(|column| place(column + 1)).collect(),
        }),
    }
}

fn named_column(first: &[Vec<u8>], wanted: &str) -> Result<usize, TableError> {
    match &matching(first, wanted)[..] {
        &[column] => Ok(column),
        [] if index_in(wanted).is_some() => indexed_column(first, wanted),
        [] => Err(TableError::NoSuchColumn { name: wanted.to_owned(), columns: names(first) }),
        several => Err(TableError::AmbiguousColumn {
            candidates: several
                .iter()
                .map(|&column| format!("{} ({})", name(&first[column]), place(column + 1)))
                .collect(),
        }),
    }
}

/// The columns of this name: those that have it exactly, or else those that fold to the same.
fn matching(first: &[Vec<u8>], wanted: &str) -> Vec<usize> {
    let all = |is_it: &dyn Fn(&[u8]) -> bool| {
        (0..first.len()).filter(|&column| is_it(&first[column])).collect::<Vec<_>>()
    };
    let exact = all(&|cell| cell == wanted.trim().as_bytes());
    let folded = fold_name(wanted.as_bytes());
    if exact.is_empty() && !folded.is_empty() {
        all(&|cell| fold_name(cell) == folded)
    } else {
        exact
    }
}

fn indexed_column(first: &[Vec<u8>], wanted: &str) -> Result<usize, TableError> {
    let Some(index) = index_in(wanted) else {
        // Without a header nothing has a name, and the cells are no names to list.
        let columns = (1..=first.len()).map(place).collect();
        return Err(TableError::NoSuchColumn { name: wanted.to_owned(), columns });
    };
    match index.checked_sub(1) {
        // An empty file has no columns, and nothing to take from them.
        Some(column) if column < first.len() || first.is_empty() => Ok(column),
        _ => Err(TableError::NoSuchIndex { index, columns: first.len() }),
    }
}

fn index_in(text: &str) -> Option<usize> {
    let text = text.trim();
    let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| text.parse().unwrap_or(usize::MAX))
}

fn names(cells: &[Vec<u8>]) -> Vec<String> {
    // What is no word may be a person's number in a list that only seems to have a header.
    let shown = |(column, cell): (usize, &Vec<u8>)| {
        if is_word(cell) { name(cell) } else { place(column + 1) }
    };
    cells.iter().enumerate().map(shown).collect()
}

fn name(cell: &[u8]) -> String {
    String::from_utf8_lossy(cell).into_owned()
}

fn place(index: usize) -> String {
    format!("column {index}")
}

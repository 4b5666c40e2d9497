//! The small files in `data/samples`, which the documentation works through.
//!
//! They come from the same population as the large ones: nobody in them is real.

use std::io;
use std::path::Path;

use crate::ids::Ids;
use crate::optouts::{moment, write_date, write_moment};
use crate::population::{COUNTRIES, Population, Subscriber};
use crate::random::{Purpose, Random};
use crate::recipients::Campaign;
use crate::spelling::Spellings;

const SEED: u64 = 2026;
const POPULATION: u64 = 250_000_000;
const OPT_OUTS: u64 = 200;
/// Far behind those whom the campaign takes, so that this list changes nothing in its result.
const BRAZILIANS_FROM: u64 = 1_000_000;
const BRAZILIANS: usize = 40;

/// A file's name and its bytes.
pub(crate) type File = (&'static str, Vec<u8>);

/// Writes every sample into a folder.
///
/// # Errors
///
/// When a file can't be written.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, bytes) in files()? {
        std::fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}

/// Makes every sample.
///
/// # Errors
///
/// None that this seed and these counts could meet.
pub(crate) fn files() -> io::Result<Vec<File>> {
    let population = Population::new(SEED, POPULATION, OPT_OUTS, COUNTRIES)?;
    let campaign = Campaign {
        seed: SEED,
        rows: 1_000,
        suppressed: 120,
        invalid: 6,
        spellings: Spellings::Messy,
        ids: Ids::default(),
    };
    let (mut all, mut kept) = (Vec::new(), Vec::new());
    let expected = campaign.write(&population, &mut all, &mut kept)?;
    Ok(vec![
        ("optouts.csv", spanish_list(&population)),
        ("descadastros.csv", portuguese_list(&population)),
        ("campaign.csv", all),
        ("campaign.kept.csv", kept),
        ("campaign.expected.json", expected.to_json().into_bytes()),
    ])
}

/// Messy numbers of all countries, with moments and the words that people sent.
fn spanish_list(population: &Population) -> Vec<u8> {
    let mut random = Random::new(SEED, Purpose::OptOutRows);
    let mut out = "Teléfono,Fecha de baja,Palabra\n".as_bytes().to_vec();
    for rank in 0..OPT_OUTS {
        write_cell(&population.opt_out(rank), &mut random, &mut out);
        out.push(b',');
        write_moment(moment(rank, OPT_OUTS, &mut random), &mut out);
        out.push(b',');
        let words =
            ["BAJA", "Baja", "STOP", "cancelar", "\"no más, gracias\"", "SAIR", "unsubscribe"];
        out.extend_from_slice(random.pick(&words).as_bytes());
        out.push(b'\n');
    }
    out
}

/// Brazilian numbers as a spreadsheet there would export them: semicolons, CRLF, dates alone.
fn portuguese_list(population: &Population) -> Vec<u8> {
    let mut random = Random::new(SEED + 1, Purpose::OptOutRows);
    let mut out = b"Telefone;Data;Palavra\r\n".to_vec();
    let brazilians = (BRAZILIANS_FROM..)
        .map(|rank| population.other(rank))
        .filter(|subscriber| subscriber.plan.country == "BR");
    for (rank, subscriber) in brazilians.take(BRAZILIANS).enumerate() {
        write_cell(&subscriber, &mut random, &mut out);
        out.push(b';');
        write_date(moment(rank as u64, BRAZILIANS as u64, &mut random), &mut out);
        out.push(b';');
        let words = ["SAIR", "Sair", "PARE", "cancelar", "descadastrar"];
        out.extend_from_slice(random.pick(&words).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn write_cell(subscriber: &Subscriber, random: &mut Random, out: &mut Vec<u8>) {
    Spellings::Messy.write(subscriber, random, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_in_the_repository_are_these() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/samples");
        for (name, bytes) in files().unwrap() {
            let stored = std::fs::read(folder.join(name)).unwrap();
            assert!(stored == bytes, "{name} differs: data/samples/README.md says how to renew it");
        }
    }
}

//! Trains the weights of the intent model, and tells how well it reads what it was not trained on.
//!
//! ```text
//! train-intent train                 data/intent/*.tsv -> data/intent/weights.bin
//! train-intent cross [--errors] [--curve] [--caught=0 ...]
//!                                    five folds of the training data, each read by a detector
//!                                    that was trained on the other four
//! train-intent phrases               how often each phrase of the lexicon is right
//! train-intent words                 the words of the training data that have no class
//! ```
//!
//! The same data gives the same bytes: order and start are fixed, and nothing is drawn at random
//! but by a fixed seed. Run it from the repository's root.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use optout::intent::lexicon::{LANGUAGES, Lexicon};
use optout::intent::model::{self, BUCKETS, INTENTS, Kinds, Model, Scores};
use optout::intent::{Detector, Intent, Thresholds};
use rayon::prelude::*;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const FOLDS: usize = 5;
const EPOCHS: usize = 24;
const RATE: f32 = 0.1;
/// How strongly weights are drawn to zero.
const DECAY: f32 = 1e-4;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let errors = arguments.iter().any(|it| it == "--errors");
    match arguments.first().map(String::as_str) {
        Some("train") => train_all(),
        Some("cross") => {
            let curve = arguments.iter().any(|it| it == "--curve");
            cross(errors, curve, thresholds(&arguments))
        }
        Some("phrases") => phrases(),
        Some("words") => words(),
        _ => Err("train, cross, phrases or words".into()),
    }
}

/// The chosen thresholds, or those of the options `--clear=0.6`, `--caught=`, `--joins=` and
/// `--sentence=`.
fn thresholds(arguments: &[String]) -> Thresholds {
    let mut all = Thresholds::CHOSEN;
    for argument in arguments {
        let Some((name, value)) = argument.split_once('=') else { continue };
        let Ok(value) = value.parse() else { continue };
        match name {
            "--clear" => all.clear = value,
            "--caught" => all.caught = value,
            "--joins" => all.joins = value,
            "--sentence" => all.sentence = value,
            _ => {}
        }
    }
    all
}

/// One labelled message.
#[derive(Clone)]
struct Row {
    text: String,
    language: String,
    label: Intent,
    kind: String,
}

fn data_dir() -> PathBuf {
    std::env::var_os("INTENT_DATA").map_or_else(|| PathBuf::from("data/intent"), PathBuf::from)
}

fn lexicon() -> Result<Lexicon, Failure> {
    let mut lexicon = Lexicon::default();
    for language in LANGUAGES {
        let table = std::fs::read_to_string(format!("data/lexicon/{language}.tsv"))?;
        lexicon.add(language, &table)?;
    }
    lexicon.prepare();
    Ok(lexicon)
}

fn training_files() -> Vec<PathBuf> {
    let names = LANGUAGES.iter().map(|language| data_dir().join(format!("{language}.tsv")));
    names.filter(|path| path.exists()).collect()
}

fn read(file: &Path) -> Result<Vec<Row>, Failure> {
    let text = std::fs::read_to_string(file)?;
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [text, language, label, kind, ..] = cells[..] else {
            return Err(format!("{}:{}: too few columns", file.display(), number + 1).into());
        };
        let Some(label) = Intent::parse(label) else {
            return Err(format!("{}:{}: no such label", file.display(), number + 1).into());
        };
        let (language, kind) = (language.to_owned(), kind.to_owned());
        rows.push(Row { text: unescape(text), language, label, kind });
    }
    Ok(rows)
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut units: Vec<u16> = Vec::new();
    let mut rest = text;
    loop {
        if let Some(hex) = rest.strip_prefix("\\u").and_then(|it| it.get(..4))
            && let Ok(unit) = u16::from_str_radix(hex, 16)
        {
            units.push(unit);
            rest = &rest[6..];
            continue;
        }
        out.push_str(&String::from_utf16_lossy(&std::mem::take(&mut units)));
        let Some(c) = rest.chars().next() else { return out };
        let escape = [("\\n", '\n'), ("\\t", '\t'), ("\\r", '\r'), ("\\\\", '\\')];
        if let Some((mark, c)) = escape.into_iter().find(|(mark, _)| rest.starts_with(mark)) {
            out.push(c);
            rest = &rest[mark.len()..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
}

/// The checksum of all that the weights depend on.
fn checksum() -> Result<u64, Failure> {
    let mut bytes = Vec::new();
    for language in LANGUAGES {
        bytes.extend(std::fs::read(format!("data/lexicon/{language}.tsv"))?);
    }
    for file in training_files() {
        bytes.extend(std::fs::read(file)?);
    }
    Ok(xxhash_rust::xxh3::xxh3_64(&bytes))
}

fn training_rows() -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for file in training_files() {
        rows.extend(read(&file)?);
    }
    Ok(rows)
}

fn train_all() -> Result<(), Failure> {
    let lexicon = lexicon()?;
    let rows = training_rows()?;
    let features = all_features(&lexicon, &rows);
    let picked: Vec<usize> = (0..rows.len()).collect();
    let model = train(&rows, &features, &picked, checksum()?);
    std::fs::write("data/intent/weights.bin", model.to_bytes())?;
    println!("{} messages", rows.len());
    Ok(())
}

type Features = Vec<(u32, f32)>;

fn all_features(lexicon: &Lexicon, rows: &[Row]) -> Vec<Features> {
    let kinds = Kinds::new(lexicon);
    let of = |row: &Row| {
        let reading = lexicon.read(&row.text);
        model::features(lexicon, &kinds, &reading, 0, reading.folded.len())
    };
    rows.par_iter().map(of).collect()
}

/// Logistic regression over the five intents, by stochastic gradients with a rate for each weight.
fn train(rows: &[Row], features: &[Features], picked: &[usize], trained_on: u64) -> Model {
    let mut counts = vec![0u32; BUCKETS];
    for &row in picked {
        let mut buckets: Vec<u32> = features[row].iter().map(|it| it.0).collect();
        buckets.sort_unstable();
        buckets.dedup();
        buckets.iter().for_each(|&it| counts[it as usize] += 1);
    }
    let mut weights = vec![[0f32; INTENTS]; BUCKETS];
    let mut squares = vec![[1e-3f32; INTENTS]; BUCKETS];
    let (mut bias, mut bias_squares) = ([0f32; INTENTS], [1e-3f32; INTENTS]);
    let mut order = picked.to_vec();
    let mut random = 0x9E37_79B9_7F4A_7C15u64;
    for _ in 0..EPOCHS {
        shuffle(&mut order, &mut random);
        for &row in &order {
            let mut scores = bias;
            for &(bucket, value) in &features[row] {
                if counts[bucket as usize] > 1 {
                    for (score, weight) in scores.iter_mut().zip(weights[bucket as usize]) {
                        *score += weight * value;
                    }
                }
            }
            let shares = softmax(&scores);
            let wanted = rows[row].label;
            let errors: Scores = std::array::from_fn(|at| {
                shares[at] - f32::from(u8::from(Intent::ALL[at] == wanted))
            });
            for &(bucket, value) in &features[row] {
                if counts[bucket as usize] > 1 {
                    let bucket = bucket as usize;
                    for at in 0..INTENTS {
                        let slope = errors[at] * value + DECAY * weights[bucket][at];
                        squares[bucket][at] += slope * slope;
                        weights[bucket][at] -= RATE * slope / squares[bucket][at].sqrt();
                    }
                }
            }
            for at in 0..INTENTS {
                bias_squares[at] += errors[at] * errors[at];
                bias[at] -= 0.1 * errors[at] / bias_squares[at].sqrt();
            }
        }
    }
    Model::quantise(&weights, bias, trained_on)
}

fn softmax(scores: &Scores) -> Scores {
    let most = scores.iter().copied().fold(f32::MIN, f32::max);
    let shares = scores.map(|it| (it - most).exp());
    let sum: f32 = shares.iter().sum();
    shares.map(|it| it / sum)
}

fn shuffle(order: &mut [usize], random: &mut u64) {
    for at in (1..order.len()).rev() {
        *random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let other = usize::try_from(*random >> 33).unwrap_or(0) % (at + 1);
        order.swap(at, other);
    }
}

fn cross(errors: bool, curve: bool, thresholds: Thresholds) -> Result<(), Failure> {
    let lexicon = lexicon()?;
    let rows = training_rows()?;
    let features = all_features(&lexicon, &rows);
    // By the text, so that a message stays in its fold when others are added.
    let fold = |row: &Row| xxhash_rust::xxh3::xxh3_64(row.text.as_bytes()) as usize % FOLDS;
    let folds: Vec<usize> = rows.iter().map(fold).collect();
    let detectors: Vec<Detector> = (0..FOLDS)
        .into_par_iter()
        .map(|fold| {
            let picked: Vec<usize> = (0..rows.len()).filter(|&it| folds[it] != fold).collect();
            Detector::new(lexicon.clone(), train(&rows, &features, &picked, 0))
        })
        .collect();
    let answers = |thresholds: Thresholds| -> Vec<Answer> {
        let ready = |detector: &Detector| detector.clone().with_thresholds(thresholds);
        let detectors: Vec<Detector> = detectors.iter().map(ready).collect();
        rows.par_iter().zip(&folds).map(|(row, &fold)| answer(&detectors[fold], row)).collect()
    };
    if !curve {
        report(&rows, &answers(thresholds), errors);
        return Ok(());
    }
    println!("{HEAD}");
    for step in -2..8i8 {
        let caught = f32::from(step) / 2.0;
        let clear = thresholds.clear.max(caught);
        let mut tally = Tally::default();
        for (row, answer) in rows.iter().zip(answers(Thresholds { caught, clear, ..thresholds })) {
            tally.counts[place(row.label)][place(answer.intent)] += 1;
        }
        println!("{}", line(&format!("caught {caught}"), &tally));
    }
    Ok(())
}

fn phrases() -> Result<(), Failure> {
    let lexicon = lexicon()?;
    let mut counts: BTreeMap<(&'static str, String), [u32; INTENTS]> = BTreeMap::new();
    for row in training_rows()? {
        for hit in lexicon.read(&row.text).hits {
            let phrase = (hit.intent.as_str(), lexicon.phrase(&hit).to_owned());
            counts.entry(phrase).or_default()[place(row.label)] += 1;
        }
    }
    for ((intent, phrase), counts) in counts {
        println!("{intent}\t{counts:?}\t{phrase}");
    }
    Ok(())
}

fn words() -> Result<(), Failure> {
    let lexicon = lexicon()?;
    let mut counts: BTreeMap<(String, String), [u32; INTENTS]> = BTreeMap::new();
    for row in training_rows()? {
        let reading = lexicon.read(&row.text);
        for (word, tag) in reading.folded.words().iter().zip(&reading.tags) {
            if tag.classes == 0 && !word.emoji {
                let key = (row.language.clone(), reading.folded.text(word).to_owned());
                counts.entry(key).or_default()[place(row.label)] += 1;
            }
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|it| std::cmp::Reverse(it.1.iter().sum::<u32>()));
    for ((language, word), counts) in counts {
        println!("{language}\t{word}\t{counts:?}");
    }
    Ok(())
}

/// What a detector said of a message.
struct Answer {
    intent: Intent,
    rule: &'static str,
    matched: String,
}

fn answer(detector: &Detector, row: &Row) -> Answer {
    let verdict = detector.read(&row.text);
    Answer { intent: verdict.intent, rule: verdict.rule, matched: verdict.matched }
}

/// Counts of one language or kind.
#[derive(Default)]
struct Tally {
    counts: [[u32; INTENTS]; INTENTS],
}

impl Tally {
    fn of(&self, label: Intent, answers: &[Intent]) -> u32 {
        let row = &self.counts[place(label)];
        answers.iter().map(|&it| row[place(it)]).sum()
    }

    fn all(&self, label: Intent) -> u32 {
        self.of(label, &Intent::ALL)
    }
}

fn place(intent: Intent) -> usize {
    Intent::ALL.iter().position(|&it| it == intent).unwrap_or(0)
}

const HEAD: &str =
    "                rows  recall  strict   false  caught  precis  likely  opt_in    help harm";

fn report(rows: &[Row], answers: &[Answer], errors: bool) {
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for (row, answer) in rows.iter().zip(answers) {
        for name in [" all".to_owned(), row.language.clone(), format!("~{}", row.kind)] {
            let tally = tallies.entry(name).or_default();
            tally.counts[place(row.label)][place(answer.intent)] += 1;
        }
        if errors && row.label != answer.intent {
            println!(
                "{}\t{} -> {}\t{} {}\t{}",
                row.language,
                row.label,
                answer.intent,
                answer.rule,
                answer.matched,
                row.text.escape_debug()
            );
        }
    }
    println!("{HEAD}");
    let by_rule = |rule: &str| {
        let of = rows.iter().zip(answers).filter(|(_, it)| it.rule == rule);
        let right = of.clone().filter(|(row, it)| row.label == it.intent).count();
        (right, of.count())
    };
    for (name, tally) in &tallies {
        println!("{}", line(name, tally));
    }
    for rule in ["picture", "lone_word", "word_plus", "misspelled", "phrase", "model"] {
        let (right, all) = by_rule(rule);
        println!("rule {rule}: {right} of {all}");
    }
}

fn line(name: &str, tally: &Tally) -> String {
    use Intent::{Help, None, OptIn, OptOut, OptOutLikely};
    let share = |part: u32, all: u32| match all {
        0 => "-".to_owned(),
        _ => format!("{:.1}", 100.0 * f64::from(part) / f64::from(all)),
    };
    let part = |label, answers: &[Intent]| share(tally.of(label, answers), tally.all(label));
    let said = Intent::ALL.iter().map(|&it| tally.of(it, &[OptOut])).sum();
    let right = tally.of(OptOut, &[OptOut]) + tally.of(OptOutLikely, &[OptOut]);
    let rows: u32 = Intent::ALL.iter().map(|&it| tally.all(it)).sum();
    format!(
        "{name:14} {rows:>5} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>4}",
        part(OptOut, &[OptOut, OptOutLikely]),
        part(OptOut, &[OptOut]),
        part(None, &[OptOut]),
        part(None, &[OptOut, OptOutLikely]),
        share(right, said),
        part(OptOutLikely, &[OptOut, OptOutLikely]),
        part(OptIn, &[OptIn]),
        part(Help, &[Help]),
        tally.of(OptOut, &[OptIn]),
    )
}

//! Trains the weights of the intent model, and tells how well it reads what it was not trained on.
//!
//! ```text
//! train-intent train                 data/intent/*.tsv -> data/intent/weights.bin
//! train-intent cross [--errors] [--curve] [--caught=0 ...]
//!                                    five folds of the training data, each read by a detector
//!                                    that was trained on the other four
//! train-intent score FILE...         messages of other files, read with data/intent/weights.bin
//! train-intent phrases               how often each phrase of the lexicon is right
//! train-intent words                 the words of the training data that have no class
//! ```
//!
//! The same data gives the same bytes: order and start are fixed, and nothing is drawn at random
//! but by a fixed seed. Run it from the repository's root.

mod augment;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use optout::intent::lexicon::{LANGUAGES, Lexicon};
use optout::intent::model::{self, BUCKETS, INTENTS, Kinds, Model, Scores};
use optout::intent::{Detector, Intent, Thresholds};
use rayon::prelude::*;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const FOLDS: usize = 5;
const EPOCHS: usize = 8;
const RATE: f32 = 0.1;
/// How strongly weights are drawn to zero.
const DECAY: f32 = 1e-4;
/// How many other messages are made of each, and how much one counts beside it.
const VARIANTS: usize = 5;
const VARIANT: f32 = 0.35;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let errors = arguments.iter().any(|it| it == "--errors");
    match arguments.first().map(String::as_str) {
        Some("train") => train_all(),
        Some("cross") => {
            let curve = arguments.iter().any(|it| it == "--curve");
            cross(errors, curve, thresholds(&arguments))
        }
        Some("score") => {
            let files = arguments[1..].iter().filter(|it| !it.starts_with("--"));
            score(&files.map(PathBuf::from).collect::<Vec<_>>(), errors, thresholds(&arguments))
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
    let model = train(&rows, &lessons(&lexicon, &rows), &|_| true, checksum()?);
    std::fs::write("data/intent/weights.bin", model.to_bytes())?;
    println!("{} messages", rows.len());
    Ok(())
}

type Features = Vec<(u32, f32)>;

/// A message as the model learns it.
struct Lesson {
    /// Which row it is or was made from.
    row: usize,
    features: Features,
    weight: f32,
}

/// Room for the intents that a processor can work on at once.
const LANES: usize = 8;

fn lessons(lexicon: &Lexicon, rows: &[Row]) -> Vec<Lesson> {
    let kinds = Kinds::new(lexicon);
    let of = |text: &str| {
        let reading = lexicon.read(text);
        model::features(lexicon, &kinds, &reading, 0, reading.folded.len())
    };
    let words = augment::Words::new(rows, lexicon);
    rows.par_iter()
        .enumerate()
        .flat_map_iter(|(number, row)| {
            let mut all = vec![Lesson { row: number, features: of(&row.text), weight: 1.0 }];
            let mut random = augment::Random::of(number);
            for _ in 0..VARIANTS {
                let text = words.variant(row, &mut random);
                all.push(Lesson { row: number, features: of(&text), weight: VARIANT });
            }
            all
        })
        .collect()
}

/// Logistic regression over the five intents, by stochastic gradients with a rate for each weight.
/// The weights are the mean of those after each later epoch: the last one leans to its last rows.
fn train(
    rows: &[Row],
    lessons: &[Lesson],
    picked: &dyn Fn(usize) -> bool,
    trained_on: u64,
) -> Model {
    let mut order: Vec<usize> = (0..lessons.len()).filter(|&it| picked(lessons[it].row)).collect();
    let kept = seen_again(lessons, &order);
    let mut learned = Learned::default();
    let mut sums = vec![[0f32; INTENTS]; BUCKETS];
    let mut random = 0x9E37_79B9_7F4A_7C15u64;
    for epoch in 0..EPOCHS {
        shuffle(&mut order, &mut random);
        for &at in &order {
            learned.learn(&kept[at], rows[lessons[at].row].label, lessons[at].weight);
        }
        if epoch >= EPOCHS / 2 {
            for (sum, row) in sums.iter_mut().zip(&learned.weights) {
                sum.iter_mut().zip(row).for_each(|(sum, weight)| *sum += weight);
            }
        }
    }
    let mean = (EPOCHS - EPOCHS / 2) as f32;
    sums.iter_mut().flatten().for_each(|it| *it /= mean);
    Model::quantise(&sums, learned.bias, trained_on)
}

/// The features of the lessons without those that occur once: they teach nothing about others.
fn seen_again(lessons: &[Lesson], picked: &[usize]) -> Vec<Features> {
    let mut counts = vec![0u32; BUCKETS];
    for &at in picked {
        let mut buckets: Vec<u32> = lessons[at].features.iter().map(|it| it.0).collect();
        buckets.sort_unstable();
        buckets.dedup();
        buckets.iter().for_each(|&it| counts[it as usize] += 1);
    }
    let again = |it: &(u32, f32)| counts[it.0 as usize] > 1;
    lessons.iter().map(|it| it.features.iter().copied().filter(again).collect()).collect()
}

/// Weights and, for the rates, the squares of their slopes.
struct Learned {
    weights: Vec<[f32; LANES]>,
    squares: Vec<[f32; LANES]>,
    bias: Scores,
    bias_squares: Scores,
}

impl Default for Learned {
    fn default() -> Learned {
        Learned {
            weights: vec![[0.0; LANES]; BUCKETS],
            squares: vec![[1e-3; LANES]; BUCKETS],
            bias: [0.0; INTENTS],
            bias_squares: [1e-3; INTENTS],
        }
    }
}

impl Learned {
    fn learn(&mut self, features: &[(u32, f32)], wanted: Intent, weight: f32) {
        let mut scores = [0f32; LANES];
        scores[..INTENTS].copy_from_slice(&self.bias);
        for &(bucket, value) in features {
            let row = &self.weights[bucket as usize];
            scores.iter_mut().zip(row).for_each(|(score, weight)| *score += weight * value);
        }
        let shares = softmax(&std::array::from_fn(|at| scores[at]));
        let mut errors = [0f32; LANES];
        for (at, &intent) in Intent::ALL.iter().enumerate() {
            errors[at] = weight * (shares[at] - f32::from(u8::from(intent == wanted)));
        }
        for &(bucket, value) in features {
            let row = &mut self.weights[bucket as usize];
            let squares = &mut self.squares[bucket as usize];
            for at in 0..LANES {
                let slope = errors[at] * value + DECAY * row[at];
                squares[at] += slope * slope;
                row[at] -= RATE * slope / squares[at].sqrt();
            }
        }
        let bias = self.bias.iter_mut().zip(&mut self.bias_squares);
        for ((bias, squares), error) in bias.zip(errors) {
            *squares += error * error;
            *bias -= RATE * error / squares.sqrt();
        }
    }
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

fn cross(errors: bool, with_curve: bool, thresholds: Thresholds) -> Result<(), Failure> {
    let lexicon = lexicon()?;
    let rows = training_rows()?;
    let lessons = lessons(&lexicon, &rows);
    // By the text, so that a message stays in its fold when others are added.
    let fold = |row: &Row| xxhash_rust::xxh3::xxh3_64(row.text.as_bytes()) as usize % FOLDS;
    let folds: Vec<usize> = rows.iter().map(fold).collect();
    let detectors: Vec<Detector> = (0..FOLDS)
        .into_par_iter()
        .map(|fold| {
            let picked = |row: usize| folds[row] != fold;
            Detector::new(lexicon.clone(), train(&rows, &lessons, &picked, 0))
        })
        .collect();
    let answers = |thresholds: Thresholds| -> Vec<Answer> {
        let ready = |detector: &Detector| detector.clone().with_thresholds(thresholds);
        let detectors: Vec<Detector> = detectors.iter().map(ready).collect();
        rows.par_iter().zip(&folds).map(|(row, &fold)| answer(&detectors[fold], row)).collect()
    };
    report(&rows, &answers(thresholds), errors);
    if with_curve {
        curve(&rows, thresholds, answers);
    }
    Ok(())
}

/// Reads other messages with the weights that are there.
fn score(files: &[PathBuf], errors: bool, thresholds: Thresholds) -> Result<(), Failure> {
    let mut others = Vec::new();
    for file in files {
        others.extend(read(file)?);
    }
    let model = Model::from_bytes(&std::fs::read("data/intent/weights.bin")?)?;
    let detector = Detector::new(lexicon()?, model);
    let at = |thresholds: Thresholds| -> Vec<Answer> {
        let detector = detector.clone().with_thresholds(thresholds);
        others.par_iter().map(|row| answer(&detector, row)).collect()
    };
    report(&others, &at(thresholds), errors);
    curve(&others, thresholds, at);
    Ok(())
}

/// How recall and false answers go against each other.
fn curve(rows: &[Row], thresholds: Thresholds, answers: impl Fn(Thresholds) -> Vec<Answer>) {
    let tally_at = |caught: f32, clear: f32| {
        let mut tally = Tally::default();
        let thresholds = Thresholds { caught, clear, ..thresholds };
        for (row, answer) in rows.iter().zip(answers(thresholds)) {
            tally.counts[place(row.label)][place(answer.intent)] += 1;
        }
        tally
    };
    let share = |tally: &Tally, label: Intent, of: &[Intent]| {
        100.0 * f64::from(tally.of(label, of)) / f64::from(tally.all(label).max(1))
    };
    let both = [Intent::OptOut, Intent::OptOutLikely];
    println!("{HEAD}");
    for most in [2.0, 3.0, 4.0, 5.0, 6.0, 8.0] {
        for step in -40..60i8 {
            let caught = f32::from(step) / 10.0;
            let tally = tally_at(caught, thresholds.clear.max(caught));
            if share(&tally, Intent::None, &both) <= most {
                println!("{}", line(&format!("caught {caught}"), &tally));
                break;
            }
        }
    }
    for most in [1.0, 1.5, 2.0] {
        for step in 0..60i8 {
            let clear = f32::from(step) / 10.0;
            let tally = tally_at(thresholds.caught.min(clear), clear);
            if share(&tally, Intent::None, &[Intent::OptOut]) <= most {
                println!("{}", line(&format!("clear {clear}"), &tally));
                break;
            }
        }
    }
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

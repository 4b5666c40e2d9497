//! What a person may rely on when a message comes back: the rules that always hold, and the
//! scores on messages that nothing was tuned on.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::Random;
use optout::intent::fold::{LONGEST, fold};
use optout::intent::lexicon::LANGUAGES;
use optout::intent::{Detector, Intent, Lexicon, Message, Model, Preference, WEIGHTS};

fn intent(text: &str) -> Intent {
    Detector::built_in().read(text).intent
}

#[test]
fn a_lone_stop_word_counts_however_it_is_dressed() {
    for text in [
        "QUIT",
        "\"QUIT\"",
        "quit!!! 🙏",
        "Hello, quit please. Jane",
        "Q U I T",
        "q.u.i.t",
        "Q-U-I-T",
        "quiiiit",
        "*quit*",
        "_QUIT_",
        "ＱＵＩＴ",
        "𝐐𝐔𝐈𝐓",
        "ⓠⓤⓘⓣ",
        "🆀🆄🅸🆃",
        "qu\u{200b}it",
        "q\u{ad}uit",
        "\u{feff}quit\u{a0}",
        "q\u{301}u\u{308}it",
        "quit quit quit",
        "quitquitquit",
        "quit\n\nSent from my iPhone",
        "> Reply QUIT to leave\nquit",
        "quit\n\nMarcela Ferro",
        "qiut",
        "🛑",
    ] {
        assert_eq!(intent(text), Intent::OptOut, "{text:?}");
    }
}

#[test]
fn stop_words_of_nine_languages_are_known() {
    for text in [
        "baja",
        "No más",
        "excluyanme",
        "sair",
        "DESCADASTRAR",
        "stop all",
        "arrêt",
        "Abmelden",
        "disiscrizione",
        "बंद करो",
        "band karo",
        "إلغاء الاشتراك",
        "kefaya",
        "berhenti",
    ] {
        assert_eq!(intent(text), Intent::OptOut, "{text:?}");
    }
}

#[test]
fn no_alone_is_never_clear() {
    for text in [
        "no",
        "NO",
        "No!",
        "no, gracias",
        "não",
        "nao obrigado",
        "no thanks",
        "nein",
        "Nein danke",
        "non",
        "non merci",
        "no grazie",
        "nahi",
        "नहीं",
        "لا",
        "لا شكرا",
        "tidak",
        "gak, makasih",
        "no no no",
        "n.o",
    ] {
        assert_eq!(intent(text), Intent::OptOutLikely, "{text:?}");
    }
}

#[test]
fn yes_and_courtesies_ask_for_nothing() {
    for text in
        ["yes", "sí", "ok", "gracias", "👍", "thank you!", "obrigada", "", "  ", "?!", "\u{200b}"]
    {
        assert_eq!(intent(text), Intent::None, "{text:?}");
    }
}

#[test]
fn what_is_only_quoted_does_not_count() {
    let quoted = "\"Text QUIT to leave our list\" is this really you?";
    assert_ne!(intent(quoted), Intent::OptOut);
    assert_eq!(intent("\"Text QUIT to leave our list\" quit"), Intent::OptOut);
}

#[test]
fn a_button_goes_before_a_preference_and_both_before_the_text() {
    let detector = Detector::built_in();
    let text = "hola";
    let stop = Message { text, preference: Some(Preference::Stop), ..Message::default() };
    assert_eq!(detector.detect(&stop).intent, Intent::OptOut);
    assert_eq!(detector.detect(&stop).rule, "preference");
    let start = Message { button: Some("Resume promotions"), ..stop };
    assert_eq!(detector.detect(&start).intent, Intent::OptIn);
    assert_eq!(detector.detect(&start).rule, "button");
    let unknown = Message { text: "", button: Some("Basta de mensajes"), preference: None };
    assert_eq!(detector.detect(&unknown).intent, Intent::OptOut);
}

#[test]
fn a_customers_words_add_and_never_replace() {
    let own = "# ours\nlone.opt_out\tkwyjibo | flumox ya\nlone.none\tstop\nphrase.opt_out\tno .. zorblat\n\
               button.opt_out\tPAYLOAD_7";
    let detector = Detector::built_in().with(own).expect("the table is right");
    for text in ["Kwyjibo!", "FLUMOX  YA", "please no more of the zorblat", "stop"] {
        assert_eq!(detector.read(text).intent, Intent::OptOut, "{text:?}");
    }
    let pressed = Message { button: Some("payload_7"), ..Message::default() };
    assert_eq!(detector.detect(&pressed).intent, Intent::OptOut);
    let error = Detector::built_in().with("lone.opt_out kwyjibo").expect_err("there is no tab");
    assert_eq!(error.line, 1);
}

#[test]
fn any_text_is_answered_and_a_long_one_is_read_at_both_ends() {
    let mut random = Random::of_test("intent");
    let parts = [
        "stop", "q", " ", "  ", "\n", "\"", "'", "«", "»", ">", "\u{200d}", "🛑", "🇲🇽", "é",
        "e\u{301}", "ا", "بند", "न", "्", "𝔖", "ﷺ", "ⓠ", "\u{0}", "7", "@", "$", ".", "no", "me",
        "’", "\u{202e}",
    ];
    for round in 0..3000 {
        let count = random.below(60);
        let text: String = (0..count).map(|_| random.pick(&parts)).collect();
        let first = Detector::built_in().read(&text);
        assert_eq!(first, Detector::built_in().read(&text), "round {round}: {text:?}");
    }
    let long = format!("unsubscribe me {}", "é".repeat(1 << 20));
    assert!(fold(&long).words().len() <= LONGEST);
    let _ = Detector::built_in().read(&long);
    let tail = format!("{} Please remove me from your list.", "lorem ipsum ".repeat(100_000));
    assert_ne!(intent(&tail), Intent::None);
}

/// The checksum as the training program forms it.
fn checksum() -> u64 {
    let mut bytes = Vec::new();
    for folder in ["lexicon", "intent"] {
        for language in LANGUAGES {
            let path = format!("data/{folder}/{language}.tsv");
            if Path::new(&path).exists() {
                bytes.extend(std::fs::read(&path).expect("the file can be read"));
            }
        }
    }
    xxhash_rust::xxh3::xxh3_64(&bytes)
}

#[test]
fn the_weights_were_trained_on_the_data_that_is_there() {
    let model = Model::from_bytes(WEIGHTS).expect("the weights can be read");
    assert_eq!(
        model.trained_on(),
        checksum(),
        "data changed: cargo run --release -p optout-train-intent -- train"
    );
    assert!(Model::from_bytes(&WEIGHTS[1..]).is_err());
    Lexicon::built_in().expect("the lexicon can be read");
}

/// Rows as (text, language, label).
fn held_out() -> Vec<(String, String, Intent)> {
    let mut rows = Vec::new();
    for language in LANGUAGES {
        let path = format!("data/intent/heldout/{language}.tsv");
        let Ok(table) = std::fs::read_to_string(path) else { continue };
        for line in table.lines().skip(1) {
            let cells: Vec<&str> = line.split('\t').collect();
            let label = Intent::parse(cells[2]).expect("a label");
            // JSON has the same escapes; only quotation marks have to be escaped for it.
            let json = format!("\"{}\"", cells[0].replace('"', "\\\""));
            let text: String = serde_json::from_str(&json).expect("escapes as in JSON");
            rows.push((text, cells[1].to_owned(), label));
        }
    }
    rows
}

#[test]
fn the_scores_on_unseen_messages_do_not_get_worse() {
    let mut counts: BTreeMap<(Intent, Intent), u32> = BTreeMap::new();
    for (text, _, label) in held_out() {
        *counts.entry((label, intent(&text))).or_default() += 1;
    }
    let of = |label, answers: &[Intent]| -> u32 {
        answers.iter().filter_map(|&it| counts.get(&(label, it))).sum()
    };
    let share = |label, answers: &[Intent]| {
        100.0 * f64::from(of(label, answers)) / f64::from(of(label, &Intent::ALL).max(1))
    };
    let caught = [Intent::OptOut, Intent::OptOutLikely];
    assert!(share(Intent::OptOut, &caught) >= FLOOR, "{}", share(Intent::OptOut, &caught));
    assert!(
        share(Intent::None, &[Intent::OptOut]) <= FALSE_CEILING,
        "{}",
        share(Intent::None, &[Intent::OptOut])
    );
    assert!(share(Intent::None, &caught) <= CAUGHT_CEILING, "{}", share(Intent::None, &caught));
}

const FLOOR: f64 = 93.0;
const FALSE_CEILING: f64 = 2.0;
const CAUGHT_CEILING: f64 = 8.0;

#[test]
fn ordinary_short_words_were_taken_for_slips_of_stop_words() {
    for text in ["bad", "bond", "holt", "sad", "salud"] {
        let verdict = Detector::built_in().read(text);
        assert_ne!(verdict.intent, Intent::OptOut, "{text}: {verdict:?}");
    }
    for text in ["vaja", "sotp", "basra", "stpo"] {
        assert_eq!(Detector::built_in().read(text).intent, Intent::OptOut, "{text}");
    }
}

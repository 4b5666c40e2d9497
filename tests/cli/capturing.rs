//! `capture`: settings of senders, and the linters.

use serde_json::{Value, json};

use crate::harness::Place;

const SECRETS: [&str; 3] = ["app-secret-of-meta", "verify-token-of-meta", "token-of-the-graph"];

fn with_shop() -> Place {
    let place = Place::new();
    for (name, secret) in ["app", "verify", "graph"].into_iter().zip(SECRETS) {
        place.write(name, format!("{secret}\n"));
    }
    let args = [
        "capture",
        "set",
        "shop",
        "--channel",
        "whatsapp",
        "--provider-id",
        "1065",
        "--brand",
        "acme",
        "--provider",
        "meta",
        "--app-secret-file",
        "app",
        "--verify-token-file",
        "verify",
        "--delivery",
        "graph",
        "--delivery-url",
        "https://graph.example/v23.0",
        "--delivery-secret-file",
        "graph",
    ];
    place.run(&args).exits(0);
    place
}

fn shown(place: &Place) -> Value {
    place.run(&["--json", "capture", "show", "shop"]).json()
}

#[test]
fn a_sender_is_set_up_shown_tried_and_taken_out() {
    let place = with_shop();
    let settings = shown(&place);
    assert_eq!(settings["delivery"]["phone_number_id"], "1065");
    assert_eq!((&settings["capture"], &settings["holds_likely"]), (&json!(false), &json!(true)));
    let texts = [
        "capture",
        "set",
        "shop",
        "--language",
        "es",
        "--confirmation",
        "es=Ya no recibirás más mensajes.",
        "--button",
        "ADIOS_1",
    ];
    place.run(&texts).exits(0);
    place.run(&["capture", "on", "shop"]).exits(0);
    let list = place.run(&["capture", "list"]);
    for word in ["shop", "whatsapp", "1065", "meta", "graph", "on"] {
        assert!(list.exits(0).contains(word), "{word}");
    }
    let tried =
        place.run(&["--json", "capture", "try", "1065", "ya no quiero sus mensajes"]).json();
    assert_eq!((&tried["intent"], &tried["records"]), (&json!("opt_out"), &json!("opt-out")));
    assert_eq!(tried["confirmation"]["language"], "es");
    let text = place.run(&["capture", "try", "shop", "Where is my order?"]);
    assert!(text.exits(0).contains("records\tnothing\nconfirms\tnothing"));
    place.run(&["capture", "off", "shop"]).exits(0);
    let tried = place.run(&["--json", "capture", "try", "shop", "BAJA"]).json();
    assert_eq!((&tried["records"], &tried["confirmation"]), (&json!("opt-out"), &Value::Null));
    place.run(&["capture", "remove", "shop"]).exits(0);
    place.run(&["capture", "show", "shop"]).fails(2, &["no sender is called so"]);
    place.run(&["verify"]).exits(0);
}

#[test]
fn a_change_keeps_what_it_does_not_name() {
    let place = with_shop();
    place.run(&["capture", "set", "shop", "--brand", "other", "--holds-likely", "false"]).exits(0);
    let settings = shown(&place);
    assert_eq!((&settings["brand"], &settings["holds_likely"]), (&json!("other"), &json!(false)));
    assert_eq!(settings["provider"]["app_secret"], "(set)");
    let file = place.text("store/capture.json");
    assert!(SECRETS.iter().all(|secret| file.contains(secret)), "the secrets stay");
    // The same provider named again keeps its secrets, another has none of them.
    place.run(&["capture", "set", "shop", "--provider", "meta"]).exits(0);
    place.run(&["capture", "set", "shop", "--provider", "generic"]).fails(2, &["provider.secret"]);
    let generic = ["capture", "set", "shop", "--provider", "generic", "--secret-file", "-"];
    place.run_with(&generic, b"secret-by-stdin\n").exits(0);
    assert!(!place.text("store/capture.json").contains(SECRETS[0]));
}

#[test]
fn no_output_holds_a_secret() {
    let place = with_shop();
    for args in [
        &["capture", "show", "shop"][..],
        &["--json", "capture", "show", "shop"],
        &["capture", "list"],
        &["--json", "capture", "list"],
        &["--json", "capture", "off", "shop"],
        &["--json", "capture", "set", "shop", "--brand", "x"],
        &["capture", "set", "shop", "--serves", "xxxx"],
        &["capture", "try", "shop", "BAJA"],
    ] {
        let ran = place.run(args);
        let all = format!("{} {}", String::from_utf8_lossy(&ran.stdout), ran.stderr);
        assert!(SECRETS.iter().all(|secret| !all.contains(secret)), "{args:?}: {all}");
    }
}

#[test]
fn capture_needs_texts_and_fit_ones() {
    let place = with_shop();
    place.run(&["capture", "on", "shop"]).fails(2, &["language: capture can't be on"]);
    let link = ["capture", "set", "shop", "--language", "es", "--confirmation", "es=Mira acme.com"];
    place.run(&link).fails(2, &["confirmations.es", "a link"]);
    let texts = [
        "capture",
        "set",
        "shop",
        "--language",
        "es",
        "--serves",
        "es,pt",
        "--confirmation",
        "es=No más mensajes.",
    ];
    place.run(&texts).exits(0);
    place.run(&["capture", "on", "shop"]).fails(2, &["confirmations.pt"]);
    place.run(&["capture", "set", "shop", "--serves", "es"]).exits(0);
    place.run(&["capture", "on", "shop"]).exits(0);
    // What capture stands on can't be taken away.
    place.run(&["capture", "set", "shop", "--confirmation", "es="]).fails(2, &["confirmations.es"]);
}

#[test]
fn what_is_not_for_a_sender_is_refused() {
    let place = with_shop();
    place.run(&["capture", "set", "new"]).fails(2, &["--channel"]);
    place.run(&["capture", "set", "new", "--channel", "fax"]).fails(2, &["channel", "fax"]);
    let wrong = ["capture", "set", "shop", "--auth-token-file", "app"];
    place.run(&wrong).fails(2, &["--auth-token-file is not for this provider"]);
    let wrong = ["capture", "set", "shop", "--delivery-account", "AC1"];
    place.run(&wrong).fails(2, &["--delivery-account is not for this delivery"]);
    let same = ["capture", "set", "other", "--channel", "whatsapp", "--provider-id", "SHOP"];
    place.run(&same).fails(2, &["the sender shop has this name"]);
    place.write("words", "lone.opt_out adios");
    place.run(&["capture", "set", "shop", "--words", "words"]).fails(2, &["words", "line 1"]);
    place.run(&["capture", "set", "shop", "--words", "none"]).fails(1, &["none can't be read"]);
    place.write("store/capture.json", "{");
    place.run(&["capture", "list"]).fails(3, &["capture.json is damaged"]);
}

#[test]
fn texts_are_linted_without_a_store() {
    let place = Place::empty();
    let lint = ["capture", "lint-confirmation", "You get no more messages."];
    assert_eq!(place.run(&lint).exits(0), "");
    let lint =
        ["capture", "lint-confirmation", "No more messages. See acme.com", "--channel", "sms"];
    let ran = place.run(&lint);
    assert!(ran.exits(5).starts_with("refused\tlink\tbytes 22 to 30: acme.com\t"));
    let ran =
        place.run_with(&["--json", "capture", "lint-confirmation", "-"], "50% off\n".as_bytes());
    let found: Value = serde_json::from_str(ran.exits(5)).unwrap();
    assert_eq!((&found["fit"], &found["findings"][0]["rule"]), (&json!(false), &json!("offer")));
    place.write(
        "good.json",
        r#"{"body": "News", "footer": "Reply STOP to opt out", "language": "en"}"#,
    );
    place.run(&["capture", "lint-template", "good.json"]).exits(0);
    place.write("bad.txt", "Everything is new this week!");
    let ran = place.run(&["capture", "lint-template", "bad.txt"]);
    assert!(ran.exits(5).contains("way_out"));
    place.write("odd.json", "{\"nonsense\": 1}");
    place.run(&["capture", "lint-template", "odd.json"]).fails(2, &["odd.json", "no template"]);
}

#[test]
fn a_template_is_read_by_the_words_and_buttons_of_its_sender() {
    let place = with_shop();
    place.write("words", "lone.opt_out\tcucurucho");
    place.run(&["capture", "set", "shop", "--words", "words", "--button", "Adiós amigos"]).exits(0);
    place.write("word.txt", "Responde CUCURUCHO para no recibir más");
    place.write("button.json", r#"{"body": "Hola", "buttons": ["Adiós amigos"]}"#);
    for name in ["word.txt", "button.json"] {
        place.run(&["capture", "lint-template", name]).exits(5);
        place.run(&["capture", "lint-template", name, "--sender", "shop"]).exits(0);
    }
}

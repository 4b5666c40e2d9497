//! The pages: sessions, tokens, scopes, masks, texts of anybody's, languages.

use std::time::Duration;

use optout::server::KeyScope;
use serde_json::json;

use crate::harness::{Answer, Client, Place, Served};

const NUMBER: &str = "+525512345678";
const HIDDEN: &str = "+52 55 •••• 5678";
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const HOSTILE: &str =
    "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}=cmd|'/C'!A0";

/// A browser without scripts: it keeps cookies and fills forms in.
struct Browser {
    client: Client,
    cookies: Vec<(String, String)>,
    headers: Vec<(&'static str, &'static str)>,
}

impl Browser {
    fn new(served: &Served) -> Browser {
        Browser { client: served.client(), cookies: vec![], headers: vec![] }
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut headers = vec![("Cookie", cookies.as_str())];
        headers.extend(self.headers.iter().copied());
        if method == "POST" {
            headers.push(FORM);
        }
        let answer = self.client.ask(method, path, &headers, body.as_bytes());
        for (_, value) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (name, rest) = value.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap().to_owned();
            self.cookies.retain(|(it, _)| it != name);
            self.cookies.push((name.to_owned(), value));
        }
        answer
    }

    fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    /// The token as the forms of the pages hold it.
    fn token(&mut self) -> String {
        let pages = ["/console/tour", "/console/audience"];
        pages.iter().find_map(|path| token_of(self.get(path).text())).unwrap()
    }

    /// Sends a form with the token of the session.
    fn send(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.token();
        let fields = [&[("token", token.as_str())], fields].concat();
        self.ask("POST", path, &encoded(&fields))
    }

    fn sign_in(served: &Served, key: &str) -> Browser {
        let mut browser = Browser::new(served);
        let answer = browser.send("/console/sign-in", &[("key", key)]);
        assert_eq!(answer.status, 303, "{}", answer.text());
        browser
    }

    fn session(&self) -> &str {
        &self.cookies.iter().find(|(name, _)| name == "optout").unwrap().1
    }
}

fn token_of(page: &str) -> Option<String> {
    let (_, rest) = page.split_once("name=\"token\" value=\"")?;
    Some(rest.split('"').next()?.to_owned())
}

fn encoded(fields: &[(&str, &str)]) -> String {
    let escape = |text: &str| {
        text.bytes().fold(String::new(), |text, byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => text + &char::from(byte).to_string(),
            _ => text + &format!("%{byte:02X}"),
        })
    };
    let each = fields.iter().map(|(name, value)| format!("{name}={}", escape(value)));
    each.collect::<Vec<_>>().join("&")
}

fn is_page(answer: &Answer, status: u16) -> &str {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    answer.text()
}

/// Records through the API.
fn record(served: &Served, key: &str, items: serde_json::Value) {
    served.client().with_key(key).post("/v1/optouts", &items).is(200);
}

fn place_with_key() -> (Place, Served, String) {
    let place = Place::new();
    let (key, _) = place.key(KeyScope::ALL);
    let served = place.serve();
    (place, served, key)
}

#[test]
fn without_a_session_every_page_asks_to_sign_in_and_shows_nothing() {
    let (_place, served, key) = place_with_key();
    record(&served, &key, json!({"number": NUMBER, "campaign": "hidden-campaign"}));
    for path in [
        "/",
        "/console",
        "/console/audience",
        "/console/numbers/1",
        "/console/record",
        "/console/keys",
        "/console/tour",
        "/console/api",
    ] {
        let answer = Browser::new(&served).get(path);
        let page = is_page(&answer, 401);
        assert!(page.contains("id=\"sign-in\"") && !page.contains("hidden-campaign"), "{path}");
        assert!(!page.contains("href=\"/console/keys\""), "{path}");
    }
    let answer = Browser::new(&served).get("/console/nothing/here");
    is_page(&answer, 404);
    for asset in ["/console/assets/console.css", "/console/assets/console.js"] {
        assert_eq!(served.client().get(asset).status, 200);
    }
}

#[test]
fn a_session_begins_with_a_key_under_a_new_id_and_ends_by_signing_out() {
    let (_place, served, key) = place_with_key();
    let mut browser = Browser::new(&served);
    browser.get("/console");
    let before = browser.session().to_owned();
    let answer = browser.send("/console/sign-in", &[("key", &key), ("next", "/console/keys")]);
    assert_eq!((answer.status, answer.header("location")), (303, Some("/console/keys")));
    let cookie = answer.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"));
    assert!(browser.session() != before && browser.session().len() == 52);
    is_page(&browser.get("/console/keys"), 200);
    let session = browser.session().to_owned();
    assert_eq!(browser.send("/console/sign-out", &[]).status, 303);
    browser.cookies = vec![("optout".to_owned(), session)];
    is_page(&browser.get("/console/keys"), 401);
    let log = served.log();
    assert!(!log.contains(&key) && log.contains("signed in"), "{log}");
}

#[test]
fn behind_a_proxy_that_encrypts_the_cookie_is_for_encrypted_connections_only() {
    let (_place, served, _) = place_with_key();
    let headers = [("X-Forwarded-Proto", "https")];
    let answer = served.client().ask("GET", "/console", &headers, b"");
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-optout=") && cookie.ends_with("; Secure"), "{cookie}");
}

#[test]
fn a_revoked_key_ends_its_sessions() {
    let place = Place::new();
    let (key, id) = place.key(KeyScope::ALL);
    let served = place.serve();
    let mut browser = Browser::sign_in(&served, &key);
    is_page(&browser.get("/console/audience"), 200);
    place.keys().revoke(&id, optout::time::Timestamp::now()).unwrap();
    let ended = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        browser.get("/console/audience").status == 401
    });
    assert!(ended);
}

#[test]
fn wrong_keys_are_counted() {
    let place = Place::new();
    place.key(KeyScope::ALL);
    let served = place.serve_with(|limits| {
        limits.failure_rate = optout::server::Rate { per_second: 0.001, burst: 3.0 };
    });
    let mut browser = Browser::new(&served);
    let token = browser.token();
    let form = encoded(&[("token", &token), ("key", "optout_wrong")]);
    for _ in 0..3 {
        is_page(&browser.ask("POST", "/console/sign-in", &form), 401);
    }
    let answer = browser.ask("POST", "/console/sign-in", &form);
    is_page(&answer, 429);
    assert!(answer.header("retry-after").is_some());
}

#[test]
fn nobody_is_led_elsewhere_by_signing_in() {
    let (_place, served, key) = place_with_key();
    for next in ["https://evil.example", "//evil.example/", "/\\evil.example", "/v1/stats"] {
        let mut browser = Browser::new(&served);
        let answer = browser.send("/console/sign-in", &[("key", &key), ("next", next)]);
        assert_eq!(answer.header("location"), Some("/console"), "{next}");
    }
}

/// Every form, with fields that would do something.
fn forms() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    vec![
        ("/console/record/opt-out", vec![("number", NUMBER)]),
        ("/console/record/resubscribe", vec![("number", NUMBER), ("reason", "START")]),
        ("/console/numbers", vec![("number", NUMBER)]),
        ("/console/numbers-shown", vec![("shows", "yes")]),
        ("/console/audience/download", vec![("format", "csv"), ("range", "all")]),
        ("/console/keys", vec![("scope", "add")]),
        ("/console/keys/abc/revoke", vec![]),
        ("/console/sign-out", vec![]),
    ]
}

#[test]
fn a_form_without_the_token_of_its_session_does_nothing() {
    let (place, served, key) = place_with_key();
    let mut browser = Browser::sign_in(&served, &key);
    let other = Browser::sign_in(&served, &key).token();
    for (path, fields) in forms() {
        for token in ["", "x", other.as_str()] {
            let fields = [&[("token", token)][..], &fields].concat();
            is_page(&browser.ask("POST", path, &encoded(&fields)), 403);
        }
    }
    assert_eq!(place.keys().list().unwrap().len(), 1);
    let page = browser.get("/console/audience?range=all");
    assert!(is_page(&page, 200).contains("id=\"empty\""));
}

#[test]
fn a_form_from_a_foreign_page_does_nothing() {
    let (place, served, key) = place_with_key();
    let mut browser = Browser::sign_in(&served, &key);
    let token = browser.token();
    for headers in [
        vec![("Origin", "https://evil.example")],
        vec![("Origin", "null")],
        vec![("Sec-Fetch-Site", "cross-site")],
        vec![("Sec-Fetch-Site", "same-site"), ("Origin", "http://localhost")],
    ] {
        browser.headers = headers;
        for (path, fields) in forms() {
            let fields = [&[("token", token.as_str())][..], &fields].concat();
            is_page(&browser.ask("POST", path, &encoded(&fields)), 403);
        }
    }
    assert_eq!(place.keys().list().unwrap().len(), 1);
    browser.headers = vec![("Origin", "http://localhost"), ("Sec-Fetch-Site", "same-origin")];
    let fields = [("token", token.as_str()), ("number", NUMBER)];
    assert_eq!(browser.ask("POST", "/console/record/opt-out", &encoded(&fields)).status, 303);
}

#[test]
fn a_key_sees_and_does_what_it_opens_and_nothing_else() {
    let place = Place::new();
    let keys: Vec<_> = KeyScope::ALL.iter().map(|&scope| (scope, place.key(&[scope]).0)).collect();
    let served = place.serve();
    let pages = [
        ("/console/audience", KeyScope::Export),
        ("/console/numbers/1", KeyScope::Check),
        ("/console/keys", KeyScope::Admin),
    ];
    for (scope, key) in &keys {
        let mut browser = Browser::sign_in(&served, key);
        for (path, needed) in pages {
            let status = browser.get(path).status;
            assert_eq!(status == 403, needed != *scope, "{scope} {path} {status}");
        }
        let page = browser.get("/console/tour").text().to_owned();
        assert_eq!(page.contains("href=\"/console/keys\""), *scope == KeyScope::Admin);
        let token = browser.token();
        for (path, fields) in forms().into_iter().take(6) {
            let needed = match path {
                "/console/record/opt-out" => KeyScope::Add,
                "/console/record/resubscribe" => KeyScope::Resubscribe,
                "/console/numbers" => KeyScope::Check,
                "/console/numbers-shown" => continue,
                "/console/audience/download" => KeyScope::Export,
                _ => KeyScope::Admin,
            };
            let fields = [&[("token", token.as_str())][..], &fields].concat();
            let status = browser.ask("POST", path, &encoded(&fields)).status;
            assert_eq!(status == 403, needed != *scope, "{scope} {path} {status}");
        }
    }
}

#[test]
fn numbers_are_masked_until_somebody_asks_which_is_logged() {
    let (_place, served, key) = place_with_key();
    let note = "he called from 55 1234 5678";
    record(&served, &key, json!({"number": NUMBER, "note": note, "source": "agent"}));
    let mut browser = Browser::sign_in(&served, &key);
    let shows = |browser: &mut Browser| {
        ["/console/audience?range=all", "/console/numbers/1"].map(|path| {
            let page = browser.get(path).text().to_owned();
            let is_whole = ["525512345678", "5512345678", "55 1234 5678"];
            (page.contains(HIDDEN), is_whole.iter().any(|it| page.contains(it)))
        })
    };
    assert_eq!(shows(&mut browser), [(true, false), (true, false)]);
    assert!(!served.log().contains("numbers shown"));
    let fields = [("shows", "yes"), ("back", "/console/numbers/1")];
    let answer = browser.send("/console/numbers-shown", &fields);
    assert_eq!(answer.header("location"), Some("/console/numbers/1"));
    assert_eq!(shows(&mut browser), [(false, true), (false, true)]);
    // Another session of the same key has not asked.
    assert_eq!(shows(&mut Browser::sign_in(&served, &key)), [(true, false), (true, false)]);
    browser.send("/console/numbers-shown", &[("shows", "no")]);
    assert_eq!(shows(&mut browser), [(true, false), (true, false)]);
    let log = served.log();
    assert!(log.contains("console: numbers shown key="), "{log}");
    assert!(!log.contains("5512345678") && !log.contains("/numbers/1"), "{log}");
}

#[test]
fn a_download_holds_what_the_filter_shows_and_whole_numbers_are_logged() {
    let (_place, served, key) = place_with_key();
    record(
        &served,
        &key,
        json!({"items": [
            {"number": NUMBER, "campaign": "spring"},
            {"number": "+525512345679", "campaign": "autumn"},
        ]}),
    );
    let mut browser = Browser::sign_in(&served, &key);
    let question = [("range", "last7"), ("campaign", "spring"), ("format", "csv")];
    let answer = browser.send("/console/audience/download", &question);
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
    let text = answer.text();
    assert!(text.lines().count() == 2 && text.contains("spring"), "{text}");
    assert!(!text.contains("525512345678") && !served.log().contains("whole numbers"));
    let whole = [&question[..], &[("numbers", "whole")]].concat();
    let answer = browser.send("/console/audience/download", &whole);
    assert!(answer.text().contains("525512345678"));
    assert!(served.log().contains("console: download with whole numbers key="));
    let lines =
        browser.send("/console/audience/download", &[("range", "all"), ("format", "ndjson")]);
    assert_eq!((lines.status, lines.text().lines().count()), (200, 2));
    #[cfg(feature = "xlsx")]
    {
        let sheet =
            browser.send("/console/audience/download", &[("range", "all"), ("format", "xlsx")]);
        assert!(sheet.status == 200 && sheet.body.starts_with(b"PK"));
    }
    is_page(&browser.send("/console/audience/download", &[("format", "exe")]), 422);
}

#[test]
fn a_person_is_found_in_any_spelling_recorded_and_brought_back() {
    let (_place, served, key) = place_with_key();
    let mut browser = Browser::sign_in(&served, &key);
    let fields = [("number", "55 1234 5678"), ("region", "MX")];
    let answer = browser.send("/console/numbers", &fields);
    assert!(is_page(&answer, 200).contains("Nothing is recorded"));
    let fields =
        [("number", "55 1234 5678"), ("region", "MX"), ("once", "abc"), ("note", "by phone")];
    for outcome in ["added", "already"] {
        let fields = if outcome == "added" { &fields[..3] } else { &fields[..] };
        let fields = [fields, &[("once", outcome)]].concat();
        let fields: Vec<_> = fields.into_iter().filter(|it| it.1 != "abc").collect();
        let answer = browser.send("/console/record/opt-out", &fields);
        let to = answer.header("location").unwrap().to_owned();
        assert!(to.ends_with(&format!("?done={outcome}")), "{to}");
        assert!(is_page(&browser.get(&to), 200).contains("id=\"done\""));
    }
    for spelling in ["+52 1 55 1234 5678", "0052 55 12345678", "5215512345678"] {
        let answer = browser.send("/console/numbers", &[("number", spelling)]);
        assert_eq!((answer.status, answer.header("location")), (303, Some("/console/numbers/2")));
    }
    let page = browser.get("/console/numbers/2");
    let page = is_page(&page, 200);
    assert!(page.contains("v-suppressed") && page.contains("by phone") && page.contains(HIDDEN));
    assert!(page.contains("#1") && page.contains("#2"));
    let answer = browser.send("/console/record/resubscribe", &[("of", "2"), ("reason", "")]);
    assert!(is_page(&answer, 422).contains("id=\"error\""));
    let answer =
        browser.send("/console/record/resubscribe", &[("of", "2"), ("reason", "asked again")]);
    let to = answer.header("location").unwrap().to_owned();
    assert!(is_page(&browser.get(&to), 200).contains("asked again"), "{to}");
}

#[test]
fn a_form_that_is_sent_twice_is_recorded_once() {
    let (_place, served, key) = place_with_key();
    let mut browser = Browser::sign_in(&served, &key);
    let fields = [("number", NUMBER), ("once", "0123456789")];
    for _ in 0..2 {
        assert_eq!(browser.send("/console/record/opt-out", &fields).status, 303);
    }
    let all = served.client().with_key(&key).get("/v1/optouts").is(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
    assert_eq!(all["items"][0]["source"], "agent");
    assert!(all["items"][0]["operator"].as_str().unwrap().starts_with("key "));
}

#[test]
fn what_cannot_be_read_comes_back_in_its_form() {
    let (_place, served, key) = place_with_key();
    let mut browser = Browser::sign_in(&served, &key);
    let answer = browser.send(
        "/console/record/opt-out",
        &[("form", "opt-out"), ("number", "nobody \"<b>"), ("note", "kept text")],
    );
    let page = is_page(&answer, 422);
    assert!(page.contains("role=\"alert\"") && page.contains("value=\"kept text\""), "{page}");
    assert!(page.contains("nobody &#34;&#60;b&#62;") || page.contains("nobody &quot;&lt;b&gt;"));
    for query in [
        "range=custom&from=2026-02-01&to=2026-01-01",
        "range=custom&from=yesterday",
        "range=never",
        "tz=Mars%2FOlympus",
        "source=letter",
        "country=XX",
        "clock=x",
        "view=x",
        "cursor=1-2-3",
    ] {
        let answer = browser.get(&format!("/console/audience?sender=acme&{query}"));
        let page = is_page(&answer, 422);
        assert!(page.contains("role=\"alert\"") && page.contains("value=\"acme\""), "{query}");
    }
    is_page(&browser.get("/console/numbers/0"), 404);
    is_page(&browser.get("/console/numbers/99"), 404);
    is_page(&browser.get("/console/numbers/x"), 404);
    is_page(&browser.get("/console/keys/nobody/revoke"), 404);
    let answer = browser.send("/console/keys", &[("name", "no scope")]);
    assert!(is_page(&answer, 422).contains("value=\"no scope\""));
    let large = "x".repeat(200_000);
    is_page(&browser.send("/console/record/opt-out", &[("note", &large)]), 413);
}

#[test]
fn keys_are_made_shown_once_and_revoked() {
    let (place, served, key) = place_with_key();
    let mut browser = Browser::sign_in(&served, &key);
    let fields =
        [("name", HOSTILE), ("scope", "check"), ("scope", "add"), ("expires", "2099-01-01")];
    let answer = browser.send("/console/keys", &fields);
    let page = is_page(&answer, 200);
    let (_, made) = page.split_once("value=\"optout_").unwrap();
    let made = format!("optout_{}", made.split('"').next().unwrap());
    assert!(!page.contains("<script>alert"));
    let list = place.keys().list().unwrap();
    assert_eq!(list[1].scopes, [KeyScope::Add, KeyScope::Check]);
    assert!(list[1].expires_at.is_some());
    assert!(!browser.get("/console/keys").text().contains(&made));
    let works = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        served.client().with_key(&made).get("/v1/numbers/+525512345678").status == 200
    });
    assert!(works);
    let path = format!("/console/keys/{}/revoke", list[1].id);
    let answer = browser.get(&path);
    let page = is_page(&answer, 200);
    assert!(page.contains("id=\"revoke\"") && !page.contains("<script>alert"));
    assert_eq!(browser.send(&path, &[]).status, 303);
    assert!(place.keys().list().unwrap()[1].revoked_at.is_some());
    assert!(!served.log().contains(&made));
}

#[test]
fn no_text_of_anybodys_becomes_markup() {
    let (place, served, key) = place_with_key();
    let long = "<i>".repeat(1300);
    place.key_named(HOSTILE);
    record(
        &served,
        &key,
        json!({"items": [
            {"number": NUMBER, "sender": HOSTILE, "campaign": HOSTILE, "word": HOSTILE, "note": HOSTILE,
             "template": HOSTILE, "source": "keyword"},
            {"number": NUMBER, "campaign": long, "note": long, "word": long},
        ]}),
    );
    let mut browser = Browser::sign_in(&served, &key);
    let hostile = encoded(&[("sender", HOSTILE), ("campaign", HOSTILE), ("tz", HOSTILE)]);
    let mut pages = vec![];
    for path in [
        "/console/audience?range=all",
        "/console/numbers/1",
        "/console/numbers/2",
        "/console/keys",
        &format!("/console/audience?range=all&{hostile}"),
        &format!("/console/audience?{hostile}&lang=%3Cscript%3E"),
        &format!("/console/sign-in?next={hostile}"),
        "/console/%3Cscript%3Ealert(1)%3C/script%3E",
    ] {
        pages.push((path.to_owned(), browser.get(path)));
    }
    let fields = [("form", "opt-out"), ("number", HOSTILE), ("note", HOSTILE), ("region", HOSTILE)];
    pages.push(("form".to_owned(), browser.send("/console/record/opt-out", &fields)));
    let mut nobody = Browser::new(&served);
    pages.push(("next".to_owned(), nobody.get(&format!("/console/audience?{hostile}"))));
    for (path, answer) in pages {
        let page = answer.text();
        for markup in ["<script>", "<img", "<i>", "onerror=alert(1)>"] {
            assert!(!page.contains(markup), "{path} {markup}");
        }
        // Nothing of ours either that the policy would refuse.
        assert!(!page.contains(" style=") && !page.contains(" onclick"), "{path}");
    }
}

#[test]
fn every_page_is_there_in_three_languages() {
    let (_place, served, key) = place_with_key();
    record(&served, &key, json!({"number": NUMBER}));
    let mut browser = Browser::sign_in(&served, &key);
    let pages = [
        ("/console/audience?range=all", ["Opted out now", "De baja ahora", "Descadastrados agora"]),
        ("/console/numbers/1", ["May be|Suppressed", "Suprimido", "Suprimido"]),
        (
            "/console/record",
            ["Record an opt-out", "Registrar una baja", "Registrar um descadastro"],
        ),
        ("/console/keys", ["Make a key", "Crear una clave", "Criar uma chave"]),
        ("/console/tour?step=1", ["What it does", "Qué hace", "O que faz"]),
        ("/console/tour?step=2", ["Sample data", "Datos de ejemplo", "Dados de exemplo"]),
        ("/console/tour?step=3", ["Kept", "Conservado", "Mantido"]),
        ("/console/tour?step=4", ["Something else", "Otra cosa", "Outra coisa"]),
        ("/console/api", ["Parameters", "Parámetros", "Parâmetros"]),
        ("/console/nothing", ["There is nothing here", "Aquí no hay nada", "Não há nada aqui"]),
    ];
    for (path, texts) in pages {
        for (code, text) in ["en", "es", "pt"].into_iter().zip(texts) {
            let mark = if path.contains('?') { '&' } else { '?' };
            let answer = browser.get(&format!("{path}{mark}lang={code}"));
            let page = answer.text();
            assert!(page.contains(&format!("<html lang=\"{code}\">")), "{path} {code}");
            assert!(text.split('|').any(|it| page.contains(it)), "{path} {code}");
            // The choice is kept.
            assert!(browser.get(path).text().contains(&format!("<html lang=\"{code}\">")));
        }
    }
    let headers = [("Accept-Language", "fr;q=0.9, pt-BR, es;q=0.5")];
    let answer = served.client().ask("GET", "/console", &headers, b"");
    assert!(is_page(&answer, 401).contains("<html lang=\"pt\">"));
}

#[test]
fn every_answer_keeps_foreign_scripts_and_frames_away() {
    let (_place, served, key) = place_with_key();
    let mut browser = Browser::sign_in(&served, &key);
    for path in [
        "/console/audience",
        "/console/keys",
        "/console/nothing",
        "/console/assets/console.js",
        "/console",
        "/console/numbers/9",
    ] {
        let answer = browser.get(path);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}");
        for (name, value) in [
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
    }
}

#[test]
fn pages_lead_through_all_events_and_a_range_is_kept() {
    let (_place, served, key) = place_with_key();
    let numbers: Vec<_> =
        (0..120).map(|at| json!({"number": format!("+5255555501{at:02}")})).collect();
    let numbers: Vec<_> = numbers.into_iter().take(100).collect();
    record(&served, &key, json!({"items": numbers}));
    let mut browser = Browser::sign_in(&served, &key);
    let mut path = "/console/audience?range=last7&tz=America/Mexico_City".to_owned();
    let (mut rows, mut pages) = (0, 0);
    loop {
        let answer = browser.get(&path);
        let page = is_page(&answer, 200);
        rows += page.matches("class=\"number\" href").count();
        pages += 1;
        let Some((_, rest)) = page.split_once("id=\"next-page\" href=\"") else { break };
        path = rest.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
    }
    assert_eq!((rows, pages), (100, 2));
    // The zone is remembered.
    assert!(
        browser
            .get("/console/audience")
            .text()
            .contains("list=\"zones\" value=\"America/Mexico_City\"")
    );
}

#[test]
fn without_keys_this_machine_needs_no_session_and_others_are_refused() {
    let place = Place::new();
    let served = place.serve();
    let mut browser = Browser::new(&served);
    assert!(is_page(&browser.get("/console/audience"), 200).contains("id=\"empty\""));
    let answer = browser.send("/console/record/opt-out", &[("number", NUMBER)]);
    assert_eq!(answer.status, 303);
    assert!(browser.get("/console/audience").text().contains(HIDDEN));
    browser.send("/console/numbers-shown", &[("shows", "yes"), ("back", "/console/audience")]);
    assert!(browser.get("/console/audience").text().contains("+525512345678"));
    let mut client = served.client();
    client.send(b"GET /console/audience HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    let answer = client.answer().unwrap();
    assert!(is_page(&answer, 403).contains("localhost") && !answer.text().contains(HIDDEN));
    // A session without a key opens nothing once there are keys.
    place.key(&[KeyScope::Admin]);
    let closed = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        browser.get("/console/audience").status == 401
    });
    assert!(closed);
}

#[test]
fn the_tour_shows_samples_and_leaves_the_store_as_it_is() {
    let (_place, served, key) = place_with_key();
    let mut browser = Browser::sign_in(&served, &key);
    assert!(browser.get("/console/audience").text().contains("/console/tour\">"));
    for step in 1..=4 {
        let answer = browser.get(&format!("/console/tour?step={step}"));
        let page = is_page(&answer, 200);
        assert_eq!(page.contains("id=\"sample\""), step > 1);
    }
    let page = browser.get("/console/tour?step=2").text().to_owned();
    // Who came back is not opted out.
    assert!(page.contains("<svg") && page.contains("<dd>90</dd>") && page.contains("<dd>84</dd>"));
    let all = served.client().with_key(&key).get("/v1/optouts").is(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 0);
}

#[test]
fn the_description_of_the_routes_is_shown_whole() {
    let (_place, served, key) = place_with_key();
    let document = served.client().with_key(&key).get("/openapi.json").is(200);
    let answer = Browser::sign_in(&served, &key).get("/console/api");
    let page = is_page(&answer, 200);
    for path in document["paths"].as_object().unwrap().keys() {
        assert!(page.contains(&format!("<code>{path}</code>")), "{path}");
    }
    for word in ["Idempotency-Key", "occurred_at", "application/problem+json"] {
        assert!(page.contains(word), "{word}");
    }
}

/// A form with a file, as a browser sends it.
fn with_file(fields: &[(&str, &str)], file: &str) -> String {
    let mut body = String::new();
    for (name, value) in fields {
        body += &format!(
            "--limit\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        );
    }
    body += "--limit\r\nContent-Disposition: form-data; name=\"file\"; filename=\"list.csv\"\r\n";
    body + "Content-Type: text/csv\r\n\r\n" + file + "\r\n--limit--\r\n"
}

impl Browser {
    fn upload(&mut self, fields: &[(&str, &str)], file: &str) -> Answer {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let kind = "multipart/form-data; boundary=limit";
        let headers = [("Cookie", cookies.as_str()), ("Content-Type", kind)];
        let body = with_file(fields, file);
        self.client.ask("POST", "/console/scrub", &headers, body.as_bytes())
    }
}

#[test]
fn a_campaign_file_is_scrubbed_fetched_and_removed() {
    let (_place, served, key) = place_with_key();
    record(&served, &key, json!({"number": NUMBER}));
    let mut browser = Browser::sign_in(&served, &key);
    let token = browser.token();
    let list = "phone,name\n+525512345678,<b>\n+525512345679,b\n12,c\n";
    let answer = browser.upload(&[("token", &token), ("mode", "enforce"), ("dedupe", "on")], list);
    assert_eq!(answer.status, 303, "{}", answer.text());
    let job = answer.header("location").unwrap().to_owned();
    let mut page = String::new();
    for _ in 0..200 {
        page = is_page(&browser.get(&job), 200).to_owned();
        if page.contains("id=\"report\"") {
            break;
        }
        assert!(page.contains("http-equiv=\"refresh\""), "{page}");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(page.contains("33.3%") && page.contains("id=\"output-clean\""), "{page}");
    for (output, text) in [
        ("clean", "phone,name\n+525512345679,b\n"),
        ("suppressed", "phone,name\n+525512345678,<b>\n"),
        ("invalid", "phone,name\n12,c\n"),
    ] {
        // What was taken out has columns that say why behind its own.
        let answer = browser.get(&format!("{job}/{output}"));
        assert_eq!(answer.text().lines().count(), text.lines().count(), "{output}");
        for (got, expected) in answer.text().lines().zip(text.lines()) {
            assert!(got.starts_with(expected), "{output} {got}");
            assert!(output != "clean" || got == expected, "{got}");
        }
    }
    let report = browser.get(&format!("{job}/report"));
    assert_eq!(report.is(200)["suppressed"], 1);
    is_page(&browser.get(&format!("{job}/nothing")), 404);
    assert!(browser.get("/console/scrub").text().contains("id=\"jobs\""));
    assert_eq!(browser.send(&format!("{job}/delete"), &[]).status, 303);
    is_page(&browser.get(&job), 404);
    assert!(!served.log().contains("5512345678"));
}

#[test]
fn a_file_without_token_or_with_a_wrong_question_is_not_scrubbed() {
    let (_place, served, key) = place_with_key();
    let mut browser = Browser::sign_in(&served, &key);
    let token = browser.token();
    is_page(&browser.upload(&[("token", "x")], "phone\n1\n"), 403);
    is_page(&browser.upload(&[], "phone\n1\n"), 403);
    for wrong in [("mode", "x"), ("category", "x"), ("region", "XX")] {
        let answer =
            browser.upload(&[("token", &token), wrong, ("column", "kept \"")], "phone\n1\n");
        let page = is_page(&answer, 422);
        assert!(page.contains("role=\"alert\"") && page.contains("kept &#34;"), "{page}");
    }
    assert!(!browser.get("/console/scrub").text().contains("id=\"jobs\""));
}

#[test]
fn a_sender_is_set_up_with_its_texts_or_stays_off() {
    let (_place, served, key) = place_with_key();
    let mut browser = Browser::sign_in(&served, &key);
    let path = "/console/capture/sender";
    let own =
        [("sender", "acme"), ("channel", "whatsapp"), ("languages", "es"), ("language", "es")];
    let without = [&own[..], &[("capture", "on"), ("words", HOSTILE)]].concat();
    let answer = browser.send(path, &without);
    let page = is_page(&answer, 422);
    assert!(page.contains("role=\"alert\"") && !page.contains("<script>alert"), "{page}");
    let linked = [("capture", "on"), ("confirmation-es", "Más ofertas en https://acme.example")];
    let answer = browser.send(path, &[&own[..], &linked].concat());
    let page = is_page(&answer, 422);
    assert!(page.contains("<b>link</b>") && page.contains("aria-invalid"), "{page}");
    let text = "Listo: no recibirá más mensajes de marketing de Acme.";
    let fine = [
        ("capture", "on"),
        ("confirmation-es", text),
        ("buttons", "Ya no"),
        ("holds_likely", "on"),
    ];
    let answer = browser.send(path, &[&own[..], &fine].concat());
    let to = answer.header("location").unwrap_or_else(|| panic!("{}", answer.text())).to_owned();
    assert!(is_page(&browser.get(&to), 200).contains(text));
    let fields = [("of", "whatsapp acme"), ("text", "BAJA")];
    let answer = browser.send("/console/capture/try", &fields);
    let page = is_page(&answer, 200);
    assert!(page.contains("i-opt_out\"") && page.contains(text), "{page}");
    let fields = [("of", "whatsapp acme"), ("button", "Ya no")];
    assert!(browser.send("/console/capture/try", &fields).text().contains("i-opt_out\""));
    let fields = [("text", "cancel my order")];
    assert!(browser.send("/console/capture/try", &fields).text().contains("i-none\""));
    let all = served.client().with_key(&key).get("/v1/optouts").is(200);
    assert!(all["items"].as_array().unwrap().is_empty());
    for (footer, is_fine) in [("Responde BAJA para no recibir más", true), ("Acme SA", false)] {
        let fields = [("body", "Hoy 20 % en todo"), ("footer", footer), ("language", "es")];
        let answer = browser.send("/console/capture/template", &fields);
        assert_eq!(answer.text().contains("message good"), is_fine, "{footer}");
    }
}

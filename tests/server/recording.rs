//! Opt-outs and resubscribes.

use optout::server::Scope;
use optout::store::Reader;
use serde_json::{Value, json};

use crate::harness::{JSON, Place};

const OPT_OUTS: &str = "/v1/optouts";
const RESUBSCRIBES: &str = "/v1/resubscribes";
const NUMBER: &str = "+525512345678";

#[test]
fn an_opt_out_is_recorded_and_found_at_once() {
    let place = Place::new();
    let served = place.serve();
    let mut client = served.client();
    let posted = json!({
        "number": "55 1234 5678", "region": "MX", "source": "keyword", "channel": "whatsapp",
        "word": "BAJA", "campaign": "spring", "message_id": "wamid.1", "note": "said so",
        "occurred_at": "2026-03-01T09:30:00Z",
    });
    let answer = client.post(OPT_OUTS, &posted).is(200);
    assert_eq!(
        answer,
        json!({
            "items": [{
                "index": 0, "number": NUMBER, "sequence": 1, "outcome": "added", "opted_out": true,
            }],
            "recorded": 1, "refused": 0, "invalid": 0,
        })
    );
    let person = client.get(&format!("/v1/numbers/{NUMBER}?channel=whatsapp")).is(200);
    assert_eq!(person["verdict"], "suppressed");
    assert_eq!(person["events"][0]["word"], "BAJA");
    assert_eq!(person["events"][0]["occurred_at"], "2026-03-01T09:30:00Z");
    let again = client.post(OPT_OUTS, &posted).is(200);
    assert_eq!(again["items"][0]["outcome"], "already");
    assert_eq!(again["items"][0]["sequence"], 1);
    served.end();
    assert_eq!(Reader::open(place.store()).unwrap().sequence(), 1);
}

#[test]
fn one_bad_item_stops_no_other() {
    let place = Place::new();
    let served = place.serve();
    let items = json!({"items": [
        {"number": NUMBER},
        {"number": "call me"},
        {"number": "+5215587654321", "source": "letter"},
        {"number": "US.13491208655302741918"},
        {"number": "+5491123456789", "occurred_at": "2099-01-01"},
        {"number": "+5491123456789", "channel": "pigeon"},
        {"number": "+13053388888 / +525587654321"},
        {"number": "+525587654322", "word": "STOP ALL", "tier": null},
    ]});
    let answer = served.client().post(OPT_OUTS, &items).is(200);
    let outcome = |it: &Value| (it["index"].as_u64().unwrap(), it["outcome"].clone());
    let outcomes: Vec<_> = answer["items"].as_array().unwrap().iter().map(outcome).collect();
    let expected = [
        (0, "added"),
        (1, "invalid"),
        (2, "invalid"),
        (3, "added"),
        (4, "invalid"),
        (5, "invalid"),
        (6, "added"),
        (6, "added"),
        (7, "added"),
    ];
    assert_eq!(outcomes, expected.map(|(index, word)| (index, json!(word))));
    let fields = ["number", "source", "occurred_at", "channel"];
    let invalid =
        answer["items"].as_array().unwrap().iter().filter(|it| it["outcome"] == "invalid");
    for (item, field) in invalid.zip(fields) {
        assert_eq!(item["errors"][0]["field"], field);
    }
    assert_eq!((&answer["recorded"], &answer["invalid"]), (&json!(5), &json!(4)));
}

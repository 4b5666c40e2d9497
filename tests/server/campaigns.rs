//! Campaigns: how they are set, who may, and what a question for one takes from it.

use std::fs;

use optout::server::KeyScope;
use serde_json::{Value, json};

use crate::harness::{Answer, Client, JSON, Place};

const NUMBER: &str = "+525512345678";

fn put(client: &mut Client, id: &str, settings: &Value) -> Answer {
    client.ask("PUT", &format!("/v1/campaigns/{id}"), &[JSON], settings.to_string().as_bytes())
}

/// A store in which somebody opted out of what one sender sends by WhatsApp.
fn place() -> Place {
    let place = Place::new();
    let served = place.serve();
    let opt_out = json!({"number": NUMBER, "channel": "whatsapp", "sender": "+52 55 0000 0001"});
    served.client().post("/v1/optouts", &opt_out).is(200);
    served.end();
    place
}

#[test]
fn a_campaign_is_set_shown_listed_and_removed() {
    let place = place();
    let (key, id) = place.key(&[KeyScope::Check, KeyScope::Admin]);
    let served = place.serve();
    let mut client = served.client().with_key(&key);
    client.get("/v1/campaigns/spring").refuses(404);
    let settings = json!({"category": "utility", "mode": "report", "channel": "sms"});
    let set = put(&mut client, "spring", &settings).is(201);
    assert_eq!(set["changed_by"], format!("key {id}"));
    let shown = client.get("/v1/campaigns/spring").is(200);
    assert_eq!(shown, set);
    assert_eq!((&shown["mode"], &shown["channel"]), (&json!("report"), &json!("sms")));
    let plain = put(&mut client, "spring", &json!({})).is(200);
    let expected = (&json!("marketing"), &json!("on"), &json!(""));
    assert_eq!((&plain["category"], &plain["mode"], &plain["channel"]), expected);
    for id in ["a%2Fb", "=cmd()", "x".repeat(200).as_str(), "%C3%B1"] {
        put(&mut client, id, &json!({})).is(201);
    }
    let (mut ids, mut path) = (Vec::new(), "/v1/campaigns?limit=2".to_owned());
    loop {
        let page = client.get(&path).is(200);
        ids.extend(page["items"].as_array().unwrap().iter().map(|it| it["id"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/campaigns?limit=2&cursor={}", next.replace('/', "%2F"));
    }
    assert_eq!(
        ids,
        [json!("=cmd()"), json!("a/b"), json!("spring"), json!("x".repeat(200)), json!("ñ")]
    );
    assert_eq!(client.ask("DELETE", "/v1/campaigns/a%2Fb", &[], b"").status, 204);
    client.ask("DELETE", "/v1/campaigns/a%2Fb", &[], b"").refuses(404);
    client.get("/v1/campaigns/a%2Fb").refuses(404);
    served.end();
    let served = place.serve();
    served.client().with_key(&key).get("/v1/campaigns/spring").is(200);
}

#[test]
fn only_an_admin_changes_a_campaign_and_nonsense_is_refused() {
    let place = place();
    let (check, _) = place.key(&[KeyScope::Check]);
    let (admin, _) = place.key(&[KeyScope::Admin]);
    let served = place.serve();
    let mut check = served.client().with_key(&check);
    let mut admin = served.client().with_key(&admin);
    put(&mut check, "spring", &json!({"mode": "off"})).refuses(403);
    check.ask("DELETE", "/v1/campaigns/spring", &[], b"").refuses(403);
    admin.get("/v1/campaigns/spring").refuses(403);
    for settings in [
        json!({"mode": "maybe"}),
        json!({"category": "spam"}),
        json!({"channel": "pigeon"}),
        json!({"sender": "a\nb"}),
        json!({"brand": "b".repeat(201)}),
        json!({"colour": "red"}),
        json!({"mode": 1}),
        json!([]),
    ] {
        put(&mut admin, "spring", &settings).refuses(422);
    }
    for id in ["x".repeat(201).as_str(), "a%0Ab", "%00"] {
        put(&mut admin, id, &json!({})).refuses(422);
    }
    put(&mut admin, "%ff", &json!({})).refuses(400);
    admin.ask("PUT", "/v1/campaigns/spring", &[], b"{}").refuses(415);
    admin.ask("POST", "/v1/campaigns/spring", &[JSON], b"{}").refuses(405);
    check.get("/v1/campaigns?limit=0").refuses(422);
    check.get("/v1/campaigns/spring").refuses(404);
}

#[test]
fn a_check_takes_from_its_campaign_what_it_does_not_say() {
    let place = place();
    let served = place.serve();
    let mut client = served.client();
    let one = json!({"channel": "whatsapp", "sender": "525500000001"});
    put(&mut client, "one", &one).is(201);
    put(&mut client, "other", &json!({"channel": "whatsapp", "sender": "525500000002"})).is(201);
    put(&mut client, "code", &json!({"category": "authentication"})).is(201);
    let report = json!({"mode": "report", "channel": "whatsapp"});
    put(&mut client, "report", &report).is(201);
    put(&mut client, "off", &json!({"mode": "off"})).is(201);
    let mut check = |more: &Value| {
        let mut question = json!({"recipients": [NUMBER, "nobody"]});
        question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        client.post("/v1/check", &question)
    };
    for (question, verdict) in [
        (json!({}), "suppressed"),
        (json!({"campaign": ""}), "suppressed"),
        (json!({"campaign": "one"}), "suppressed"),
        (json!({"campaign": "one", "sender": "+52 55 0000 0001"}), "suppressed"),
        (json!({"campaign": "other"}), "allowed"),
        (json!({"campaign": "report"}), "suppressed"),
        (json!({"campaign": "off"}), "allowed"),
        (json!({"campaign": "code", "category": "marketing"}), "suppressed"),
    ] {
        let answer = check(&question).is(200);
        assert_eq!(answer["verdicts"][0]["verdict"], verdict, "{question}");
        assert_eq!(answer["verdicts"][1]["verdict"], "invalid", "{question}");
    }
    assert_ne!(check(&json!({"campaign": "code"})).is(200)["verdicts"][0]["verdict"], "suppressed");
    let off = check(&json!({"campaign": "off"})).is(200);
    assert_eq!((&off["mode"], &off["campaign"]), (&json!("off"), &json!("off")));
    assert_eq!(check(&json!({"campaign": "report"})).is(200)["mode"], "report");
    assert!(check(&json!({})).is(200).get("mode").is_none());
    for question in [
        json!({"campaign": "autumn"}),
        json!({"campaign": "one", "sender": "525500000002"}),
        json!({"campaign": "one", "channel": "sms"}),
        json!({"campaign": 5}),
    ] {
        check(&question).refuses(422);
    }
}

#[test]
fn a_scrub_takes_its_mode_from_its_campaign() {
    let place = place();
    let served = place.serve();
    let mut client = served.client();
    for (id, mode) in [("on", "on"), ("report", "report"), ("off", "off")] {
        put(&mut client, id, &json!({"mode": mode, "channel": "whatsapp"})).is(201);
    }
    let list = "phone\n+525512345678\n+525587654321\n";
    let kept = "phone\n+525587654321\n";
    for (query, expected) in [
        ("campaign=on", kept),
        ("campaign=report", list),
        ("campaign=off", list),
        ("campaign=off&mode=enforce", kept),
        ("campaign=on&mode=off", list),
        ("campaign=on&category=utility", list),
    ] {
        let path = format!("/v1/scrub?{query}");
        let answer = client.ask("POST", &path, &[], list.as_bytes());
        assert_eq!((answer.status, answer.text()), (200, expected), "{query}");
        let id = answer.header("optout-job").unwrap();
        let job = client.get(&format!("/v1/scrub/{id}")).is(200);
        assert_eq!(job["campaign"], query[9..].split('&').next().unwrap());
        assert_eq!(job["report"]["options"]["channel"], "whatsapp");
    }
    for query in ["campaign=autumn", "campaign=on&channel=sms", "campaign=off&dedupe=true"] {
        client.ask("POST", &format!("/v1/scrub?{query}"), &[], list.as_bytes()).refuses(422);
    }
}

#[test]
fn a_list_of_campaigns_that_is_damaged_means_nothing_and_not_off() {
    let place = place();
    let served = place.serve();
    let mut client = served.client();
    put(&mut client, "spring", &json!({"mode": "off"})).is(201);
    let path = place.store().join("campaigns.json");
    let before = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"{\"version\":1}").unwrap();
    let question = json!({"recipients": [NUMBER], "campaign": "spring"});
    client.post("/v1/check", &question).refuses(503);
    client.get("/v1/campaigns").refuses(503);
    put(&mut client, "summer", &json!({})).refuses(503);
    client.post("/v1/check", &json!({"recipients": [NUMBER]})).is(200);
    fs::remove_file(&path).unwrap();
    fs::write(&path, before).unwrap();
    assert_eq!(client.post("/v1/check", &question).is(200)["mode"], "off");
}

//! How campaigns treat those who opted out.

use serde_json::json;

use crate::harness::Place;

#[test]
fn a_campaign_is_set_shown_listed_and_removed() {
    let place = Place::new();
    assert_eq!(place.run(&["--json", "campaign", "list"]).json(), json!([]));
    let set = ["--json", "campaign", "set", "spring", "--mode", "off", "--channel", "sms"];
    let set = place.run(&set).json();
    assert_eq!(set["id"], "spring");
    assert_eq!((&set["category"], &set["mode"]), (&json!("marketing"), &json!("off")));
    assert_eq!(place.run(&["--json", "campaign", "show", "spring"]).json(), set);
    place.run(&["campaign", "set", "autumn", "--category", "utility"]).exits(0);
    let listed = place.run(&["campaign", "list"]);
    let listed = listed.exits(0);
    let at = |name: &str| listed.find(name).unwrap();
    assert!(at("autumn") < at("spring"));
    place.run(&["campaign", "set", "spring"]).exits(0);
    let shown = place.run(&["--json", "campaign", "show", "spring"]).json();
    assert_eq!((&shown["mode"], &shown["channel"]), (&json!("on"), &json!("")));
    place.run(&["campaign", "remove", "spring"]).exits(0);
    place.run(&["campaign", "remove", "spring"]).fails(2, &["spring"]);
    place.run(&["campaign", "show", "spring"]).fails(2, &["spring"]);
}

#[test]
fn nonsense_is_refused() {
    let place = Place::new();
    for args in [
        &["campaign", "set", "spring", "--mode", "maybe"][..],
        &["campaign", "set", "spring", "--category", "spam"],
        &["campaign", "set"],
    ] {
        place.run(args).fails(2, &[]);
    }
    assert_ne!(place.run(&["campaign", "set", "spring", "--channel", "pigeon"]).exit, Some(0));
    assert_ne!(place.run(&["campaign", "set", ""]).exit, Some(0));
    assert_eq!(place.run(&["--json", "campaign", "list"]).json(), json!([]));
}

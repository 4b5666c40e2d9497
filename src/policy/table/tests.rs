use Category::{Authentication, Marketing, Utility};
use Decision::{Allowed, Exempt, Suppressed};

use super::super::Scope;
use super::*;

fn context(category: Category) -> Context {
    Context { category, ..Context::default() }
}

fn claims(tier: Tier, excepted: &[Category]) -> Claims {
    let claim = Claim { scope: Scope::EVERYWHERE, tier, excepted: excepted.to_vec() };
    Claims::default().with(claim)
}

/// The decision and the name of the rule.
fn named(policy: &Policy, ruling: Ruling) -> (Decision, &str) {
    (ruling.decision, ruling.rule.map_or("", |id| &policy.rule(id).unwrap().name))
}

/// The default rules with one of them replaced.
fn edited(name: &str, line: &str) -> Result<Policy, PolicyError> {
    let policy = Policy::default();
    let rule = policy.rules().iter().find(|rule| rule.name == name).unwrap();
    Policy::parse(&policy.text().replace(&rule.text, line))
}

#[test]
fn the_default_policy_is_readable_and_has_the_known_names() {
    let policy = Policy::default();
    let names: Vec<&str> = policy.rules().iter().map(|rule| &*rule.name).collect();
    let expected =
        "opt-out category-exempt override opt-out-all registry-exempt registry-consent registry";
    assert_eq!(names.join(" "), expected);
    assert!(policy.text().is_ascii());
    assert_eq!(Policy::parse(policy.text()).unwrap(), policy);
    assert_eq!(policy.digest(), Policy::default().digest());
}

#[test]
fn the_default_policy_decides_every_case_as_it_says() {
    let policy = Policy::default();
    let on_claims = |tier, excepted: &[Category], category| {
        named(&policy, policy.on_claims(&claims(tier, excepted), &context(category)))
    };
    for category in [Utility, Authentication] {
        let other = if category == Utility { Authentication } else { Utility };
        let (market, all) = (Tier::Marketing, Tier::All);
        assert_eq!(on_claims(market, &[], category), (Exempt, "category-exempt"));
        assert_eq!(on_claims(all, &[], category), (Suppressed, "opt-out-all"));
        assert_eq!(on_claims(all, &[other], category), (Suppressed, "opt-out-all"));
        assert_eq!(on_claims(all, &[category], category), (Exempt, "override"));
        for consent in [false, true] {
            let ruling = policy.on_registry(&context(category), consent);
            assert_eq!(named(&policy, ruling), (Exempt, "registry-exempt"));
        }
        assert!(!policy.registries_matter(category));
    }
    assert_eq!(on_claims(Tier::Marketing, &[], Marketing), (Suppressed, "opt-out"));
    for excepted in [&[][..], &[Utility], &[Utility, Authentication], &[Marketing]] {
        assert_eq!(on_claims(Tier::All, excepted, Marketing), (Suppressed, "opt-out-all"));
    }
    let registry = |consent| named(&policy, policy.on_registry(&context(Marketing), consent));
    assert_eq!(registry(false), (Suppressed, "registry"));
    assert_eq!(registry(true), (Allowed, "registry-consent"));
    assert!(policy.registries_matter(Marketing));
    assert_eq!(Case::all().len(), 14);
    assert!(Case::all().iter().all(|&case| policy.answer(case).rule.is_some()));
}

#[test]
fn claims_of_other_scopes_are_not_about_the_message() {
    let policy = Policy::default();
    let scope = |channel, sender| Scope::new(channel, sender, "").unwrap();
    let claim = |scope, tier| Claim { scope, tier, excepted: Vec::new() };
    let claims: Claims =
        [claim(scope("sms", ""), Tier::All), claim(scope("whatsapp", "acme"), Tier::Marketing)]
            .into_iter()
            .collect();
    let on = |channel, sender, category| {
        let context = Context { scope: scope(channel, sender), category };
        named(&policy, policy.on_claims(&claims, &context))
    };
    assert_eq!(on("voice", "", Marketing), (Allowed, ""));
    assert_eq!(on("sms", "", Utility), (Suppressed, "opt-out-all"));
    assert_eq!(on("whatsapp", "other", Marketing), (Allowed, ""));
    assert_eq!(on("whatsapp", "", Marketing), (Suppressed, "opt-out"));
    assert_eq!(on("whatsapp", "", Utility), (Exempt, "category-exempt"));
    assert_eq!(on("", "", Marketing), (Suppressed, "opt-out-all"));
    let ruling = policy.on_claims(&Claims::default(), &Context::default());
    assert_eq!(ruling, Ruling::UNLISTED);
}

#[test]
fn of_several_claims_the_strongest_names_the_rule() {
    let policy = Policy::default();
    let sms = Scope::new("sms", "", "").unwrap();
    let narrow = Claim { scope: sms, tier: Tier::All, excepted: vec![Utility] };
    let both = claims(Tier::Marketing, &[]).with(narrow);
    let on = |category| named(&policy, policy.on_claims(&both, &context(category)));
    assert_eq!(on(Marketing), (Suppressed, "opt-out-all"));
    assert_eq!(on(Utility), (Exempt, "override"));
    assert_eq!(on(Authentication), (Suppressed, "opt-out-all"));
}

#[test]
fn of_two_rulings_the_stronger_counts_and_the_first_at_a_tie() {
    let ruling = |decision, rule: Option<u8>| Ruling { decision, rule: rule.map(RuleId) };
    let (one, two) = (ruling(Suppressed, Some(1)), ruling(Suppressed, Some(2)));
    assert_eq!((one.stronger(two), two.stronger(one)), (one, two));
    for weak in [Ruling::UNLISTED, ruling(Exempt, Some(0)), ruling(Allowed, Some(0))] {
        assert_eq!((one.stronger(weak), weak.stronger(one)), (one, one));
    }
    let consent = ruling(Allowed, Some(3));
    assert_eq!(Ruling::UNLISTED.stronger(consent), consent);
    assert_eq!(consent.stronger(Ruling::UNLISTED), consent);
    assert!(!Ruling::UNANSWERED.stronger(consent).may_send());
}

#[test]
fn a_policy_is_read_in_the_ways_people_write_tables() {
    let default = Policy::default();
    let bars = "\u{feff}# mine\r\n\r\n optout-policy   1 # version\r\n\
        | opt-out | opt-out | marketing | any | any | suppressed |\r\n\
        category-exempt|opt-out|utility , authentication|any|any|exempt # why not\r\n\
        override\topt-out-all utility,\tauthentication yes any exempt\r\n\
        opt-out-all opt-out-all any any any suppressed\r\n\
        registry-exempt registry utility,authentication any any exempt\r\n\
        registry-consent registry marketing any yes allowed\r\n\
        registry registry marketing any no suppressed";
    let policy = Policy::parse(bars).unwrap();
    assert_eq!(policy.answers, default.answers);
    assert_eq!(policy.rules()[1].line, 5);
    assert_ne!(policy.digest(), default.digest());
}

#[test]
fn a_stricter_policy_is_a_matter_of_the_file() {
    let line = "otp-only opt-out-all authentication yes any exempt";
    let policy = edited("override", line).unwrap();
    let on = |category| {
        let all = claims(Tier::All, &[Utility, Authentication]);
        named(&policy, policy.on_claims(&all, &context(category)))
    };
    assert_eq!(on(Utility), (Suppressed, "opt-out-all"));
    assert_eq!(on(Authentication), (Exempt, "otp-only"));
    let line =
        "registry-exempt registry authentication any any exempt\nr registry any any any suppressed";
    let text = Policy::default().text().replace("registry  ", "# ");
    let text = text.replace("registry-exempt", "#").replace("registry-consent", "#") + line;
    assert!(Policy::parse(&text).unwrap().registries_matter(Utility));
}

#[test]
fn what_weakens_an_opt_out_is_refused_with_line_and_reason() {
    for (name, line, expected) in [
        ("opt-out", "opt-out opt-out marketing any any exempt", "always stops marketing"),
        ("opt-out", "opt-out opt-out any any any allowed", "always stops marketing"),
        ("opt-out-all", "x opt-out-all any any any exempt", "lets marketing through"),
        (
            "opt-out-all",
            "x opt-out-all marketing any any suppressed\ny opt-out-all any no any exempt",
            "only an override",
        ),
        (
            "override",
            "override opt-out-all any yes any exempt\nz opt-out-all utility no any allowed",
            "only an override",
        ),
        ("opt-out", "opt-out opt-out marketing any no suppressed", "never against opt-out"),
        ("opt-out-all", "x opt-out-all any any yes exempt", "never against opt-out-all"),
    ] {
        let error = edited(name, line).unwrap_err().to_string();
        assert!(error.contains(expected) && error.starts_with("line "), "{line}: {error}");
    }
}

#[test]
fn open_cases_and_rules_that_never_apply_are_refused_by_name() {
    for (name, line, expected) in [
        (
            "registry-consent",
            "c registry utility any yes allowed",
            "c never applies: before it comes registry-exempt",
        ),
        ("registry", "", "leaves a case open: registry, category marketing, consent no"),
        ("opt-out", "", "leaves a case open: opt-out, category marketing"),
        ("override", "", ""),
        ("category-exempt", "e opt-out utility any any exempt", "opt-out, category authentication"),
        ("opt-out-all", "x opt-out-all any no any suppressed", ""),
        ("opt-out-all", "x opt-out-all any yes any suppressed", "opt-out-all, category marketing:"),
        ("override", "o opt-out-all marketing yes any suppressed", "never name marketing"),
        (
            "opt-out",
            "a opt-out any any any suppressed",
            "category-exempt never applies: before it comes a (line",
        ),
    ] {
        let result = edited(name, line).map_err(|error| error.to_string());
        match expected.is_empty() {
            true => assert!(result.is_ok(), "{line}: {result:?}"),
            false => assert!(result.clone().unwrap_err().contains(expected), "{line}: {result:?}"),
        }
    }
}

#[test]
fn what_is_no_policy_is_refused_with_line_and_reason() {
    let header = "optout-policy 1\n";
    let many: String = (0..300).map(|n| format!("r{n} registry any any any exempt\n")).collect();
    for (text, expected) in [
        ("".to_owned(), "is empty"),
        ("# only a comment".to_owned(), "is empty"),
        ("\noptout-policy 2".to_owned(), "line 2: a policy begins with \"optout-policy 1\""),
        ("<html>".to_owned(), "not with \"<html>\""),
        (header.to_owned(), "leaves a case open"),
        (format!("{header}a opt-out any any suppressed"), "line 2: a rule has 6 columns"),
        (format!("{header}a | opt-out | any | any | | any | suppressed"), "not 7"),
        (format!("{header}a | opt-out | any | | any | suppressed"), "\"\" is not known"),
        (
            format!("{header}a optout any any any exempt"),
            "line 2: \"optout\" is not known in the column entry: use one of opt-out, opt-out-all, registry",
        ),
        (format!("{header}a opt-out otp any any exempt"), "column category"),
        (
            format!("{header}a opt-out any maybe any exempt"),
            "column override: use one of yes, no, any",
        ),
        (format!("{header}a opt-out any any 1 exempt"), "column consent"),
        (
            format!("{header}a opt-out any any any deny"),
            "column verdict: use one of allowed, exempt, suppressed",
        ),
        (format!("{header}Opt,Out opt-out any any any exempt"), "can't be the name"),
        (format!("{header}{} opt-out any any any exempt", "n".repeat(41)), "can't be the name"),
        (format!("{header}a opt-out any yes any exempt"), "mean nothing to opt-out"),
        (format!("{header}a registry any no any exempt"), "mean nothing to registry"),
        (
            format!("{header}a registry any any any exempt\na registry any any any exempt"),
            "line 3: the rule of line 2 has the name a too",
        ),
        (format!("{header}{many}"), "line 252: a policy has at most 250 rules"),
        ("#".repeat(70_000), "70000 bytes"),
    ] {
        let error = Policy::parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn no_text_makes_the_parser_panic() {
    let default = Policy::default();
    let words: Vec<&str> = default.text().split_inclusive([' ', '\n']).collect();
    let mut state = 1_u64;
    for _ in 0..2_000 {
        let mut text = String::from("optout-policy 1\n");
        for _ in 0..40 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text += words[(state >> 33) as usize % words.len()];
            text += ["", ",", "|", "\n", "\u{feff}", "é"][(state >> 20) as usize % 6];
        }
        drop(Policy::parse(&text));
    }
    for end in 0..default.text().len() {
        assert!(Policy::parse(&default.text()[..end]).is_err() || end > default.text().len() - 3);
    }
}

use Action::{OptOut, Override, Resubscribe, Retract};

use super::*;

const LATE: i64 = 100;

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millis(milliseconds)
}

/// A person's own act, everywhere and on everything.
fn fact(sequence: u64, action: Action, occurred: i64, received: i64) -> Fact {
    Fact {
        sequence,
        action,
        scope: Scope::EVERYWHERE,
        tier: Tier::All,
        ground: Ground::Request,
        source: Source::Keyword,
        category: None,
        overrides: false,
        batch: 0,
        occurred_at: at(occurred),
        received_at: at(received),
    }
}

fn stop() -> Fact {
    fact(1, OptOut, 1, LATE)
}

fn start() -> Fact {
    fact(2, Resubscribe, 2, LATE)
}

fn scope(channel: &str, sender: &str, brand: &str) -> Scope {
    Scope::new(channel, sender, brand).unwrap()
}

fn claim(scope: Scope, tier: Tier, excepted: &[Category]) -> Claim {
    Claim { scope, tier, excepted: excepted.to_vec() }
}

fn sequences(facts: &[Fact]) -> Vec<u64> {
    standing_opt_outs(facts).map(|fact| fact.sequence).collect()
}

#[test]
fn the_later_moment_decides_and_a_tie_is_opted_out() {
    for (events, standing) in [
        (&[(OptOut, 5)][..], &[1][..]),
        (&[(OptOut, 5), (Resubscribe, 6)], &[]),
        (&[(OptOut, 5), (Resubscribe, 5)], &[1]),
        (&[(OptOut, 5), (Resubscribe, 4)], &[1]),
        (&[(Resubscribe, 9), (OptOut, 5)], &[]),
        (&[(OptOut, 1), (Resubscribe, 2), (OptOut, 3)], &[3]),
        (&[(OptOut, 9), (OptOut, 3)], &[1, 2]),
        (&[(OptOut, 1), (OptOut, 9), (Resubscribe, 5)], &[2]),
        (&[], &[]),
    ] {
        let facts: Vec<Fact> =
            (1..).zip(events).map(|(seq, &(action, at))| fact(seq, action, at, LATE)).collect();
        assert_eq!(sequences(&facts), standing, "{facts:?}");
        let mut backwards = facts.clone();
        backwards.reverse();
        assert_eq!(Claims::of(&backwards), Claims::of(&facts));
        assert_eq!(Claims::of(&facts).is_empty(), standing.is_empty());
    }
}

#[test]
fn a_resubscribe_dated_in_the_future_does_not_silence_later_stops() {
    let mut facts = vec![fact(1, OptOut, 1, 1), fact(2, Resubscribe, 900, 10)];
    assert!(sequences(&facts).is_empty());
    facts.push(fact(3, OptOut, 20, 20));
    assert_eq!(sequences(&facts), [3]);
}

#[test]
fn a_clock_that_was_ahead_and_set_right_does_not_silence_later_stops() {
    let ahead = vec![fact(1, OptOut, 1, 1), fact(2, Resubscribe, 900, 900)];
    let with = |stop| [ahead.clone(), vec![stop]].concat();
    assert_eq!(sequences(&with(fact(3, OptOut, 20, 20))), [3]);
    // Under a clock that runs forward, an old STOP that arrives late changes nothing.
    assert!(sequences(&with(fact(3, OptOut, 20, 950))).is_empty());
}

#[test]
fn a_resubscribe_reaches_at_and_below_its_own_scope() {
    let scopes = [
        scope("", "", ""),
        scope("sms", "", ""),
        scope("sms", "55555", ""),
        scope("sms", "55555", "acme"),
        scope("", "", "acme"),
    ];
    for above in &scopes {
        for below in &scopes {
            let start = Fact { scope: above.clone(), ..start() };
            let stop = Fact { scope: below.clone(), ..stop() };
            assert_eq!(lifts(&start, &stop), above.covers(below), "{above} {below}");
        }
    }
}

#[test]
fn a_resubscribe_to_marketing_leaves_an_opt_out_from_all_messages() {
    let narrow = Fact { tier: Tier::Marketing, ..start() };
    assert!(!lifts(&narrow, &stop()));
    assert!(lifts(&narrow, &Fact { tier: Tier::Marketing, ..stop() }));
    assert!(lifts(&start(), &Fact { tier: Tier::Marketing, ..stop() }));
}

#[test]
fn registries_legal_demands_and_protected_entries_are_never_lifted() {
    for &source in Source::ALL {
        for overrides in [false, true] {
            let start = Fact { source, overrides, ..start() };
            assert!(!lifts(&start, &Fact { source: Source::Registry, ..stop() }));
            assert!(!lifts(&start, &Fact { ground: Ground::Legal, ..stop() }));
            assert!(!lifts(&start, &Fact { ground: Ground::Protected, ..stop() }));
        }
    }
}

#[test]
fn an_operator_lifts_a_persons_own_opt_out_only_when_he_overrides_it() {
    let operators = [Source::Agent, Source::Import, Source::Registry, Source::Carrier];
    for &by in Source::ALL {
        for &of in Source::ALL {
            for ground in [Ground::Request, Ground::WrongPerson, Ground::Erasure] {
                let stop = Fact { source: of, ground, ..stop() };
                let own = !operators.contains(&of) || ground == Ground::Erasure;
                let start = Fact { source: by, ..start() };
                let expected = of != Source::Registry && (!own || !operators.contains(&by));
                assert_eq!(lifts(&start, &stop), expected, "{by} {of} {ground}");
                let start = Fact { overrides: true, ..start };
                assert_eq!(lifts(&start, &stop), of != Source::Registry, "{by} {of} {ground}");
            }
        }
    }
}

#[test]
fn only_resubscribes_lift_and_only_opt_outs_are_lifted() {
    for &action in Action::ALL {
        assert_eq!(lifts(&Fact { action, ..start() }, &stop()), action == Resubscribe);
        assert_eq!(lifts(&start(), &Fact { action, ..stop() }), action == OptOut);
    }
}

#[test]
fn a_refusal_names_the_first_own_opt_out_that_would_stay() {
    let agents = Fact { source: Source::Agent, ..start() };
    let facts = [
        Fact { source: Source::Import, ..stop() },
        Fact { sequence: 4, source: Source::Button, ..stop() },
        Fact { sequence: 3, ..stop() },
    ];
    let agents = Fact { sequence: 9, ..agents };
    let refused = refusal(&agents, &facts).unwrap();
    assert_eq!((refused.sequence, refused.source_of_opt_out), (3, Source::Keyword));
    assert!(refused.to_string().contains("keyword"), "{refused}");
    assert_eq!(refusal(&Fact { overrides: true, ..agents.clone() }, &facts), None);
    assert_eq!(refusal(&Fact { source: Source::Api, ..agents.clone() }, &facts), None);
    assert_eq!(refusal(&agents, &facts[..1]), None);
    // What an override would not lift either is no reason to ask for one.
    let legal = Fact { ground: Ground::Legal, ..stop() };
    assert_eq!(refusal(&agents, &[legal]), None);
    let later = Fact { occurred_at: at(50), ..stop() };
    assert_eq!(refusal(&agents, &[later]), None);
    let lifted = [stop(), start()];
    assert_eq!(refusal(&agents, &lifted), None);
}

#[test]
fn a_retract_takes_back_what_its_import_did_before_it() {
    let stop = |sequence, batch| Fact { sequence, batch, ..stop() };
    let retract = |sequence, batch| Fact { batch, ..fact(sequence, Retract, 0, 0) };
    assert!(sequences(&[stop(1, 7), retract(2, 7)]).is_empty());
    assert!(sequences(&[retract(2, 7), stop(1, 7)]).is_empty());
    assert_eq!(sequences(&[stop(1, 7), retract(2, 8)]), [1]);
    assert_eq!(sequences(&[stop(1, 7), retract(2, 7), stop(3, 7)]), [3]);
    assert!(sequences(&[stop(1, 7), retract(2, 7), retract(3, 7)]).is_empty());
    assert_eq!(sequences(&[stop(1, 0), retract(2, 0)]), [1]);
}

#[test]
fn a_retract_takes_back_resubscribes_and_overrides_too() {
    let retract = Fact { batch: 7, ..fact(9, Retract, 0, 0) };
    let start = Fact { batch: 7, ..start() };
    assert!(sequences(&[stop(), start.clone()]).is_empty());
    assert_eq!(sequences(&[stop(), start, retract.clone()]), [1]);
    let utility =
        Fact { category: Some(Category::Utility), batch: 7, ..fact(2, Override, 2, LATE) };
    let all = claim(Scope::EVERYWHERE, Tier::All, &[]);
    assert_ne!(Claims::of(&[stop(), utility.clone()]), all.clone().into_claims());
    assert_eq!(Claims::of(&[stop(), utility, retract]), all.into_claims());
}

impl Claim {
    fn into_claims(self) -> Claims {
        Claims::default().with(self)
    }
}

#[test]
fn an_override_excepts_its_category_from_earlier_opt_outs_from_all_messages() {
    let over = |category| Fact { category, ..fact(2, Override, 2, LATE) };
    let utility = over(Some(Category::Utility));
    let claims = |facts: &[Fact]| Claims::of(facts).iter().cloned().collect::<Vec<_>>();
    let excepted = claim(Scope::EVERYWHERE, Tier::All, &[Category::Utility]);
    assert_eq!(claims(&[stop(), utility.clone()]), std::slice::from_ref(&excepted));
    // Whatever the ground and the source.
    for &ground in Ground::ALL {
        for &source in Source::ALL {
            let stop = Fact { ground, source, ..stop() };
            assert_eq!(claims(&[stop, utility.clone()]), std::slice::from_ref(&excepted));
        }
    }
    let plain = claim(Scope::EVERYWHERE, Tier::All, &[]);
    // A later opt-out, one at the same moment, a narrower override, one of marketing, of nothing.
    let later = Fact { sequence: 3, occurred_at: at(3), ..stop() };
    assert_eq!(claims(&[stop(), utility.clone(), later]), std::slice::from_ref(&plain));
    let tie = Fact { occurred_at: at(2), ..stop() };
    assert_eq!(claims(&[tie, utility.clone()]), std::slice::from_ref(&plain));
    let narrow = Fact { scope: scope("sms", "", ""), ..utility.clone() };
    assert_eq!(claims(&[stop(), narrow]), std::slice::from_ref(&plain));
    assert_eq!(claims(&[stop(), over(Some(Category::Marketing))]), std::slice::from_ref(&plain));
    assert_eq!(claims(&[stop(), over(None)]), [plain]);
    let marketing = Fact { tier: Tier::Marketing, ..stop() };
    let only = claim(Scope::EVERYWHERE, Tier::Marketing, &[]);
    assert_eq!(claims(&[marketing, utility]), [only]);
}

#[test]
fn claims_that_say_nothing_beside_another_are_left_out() {
    use Category::{Authentication, Utility};
    let sms = || scope("sms", "", "");
    let acme = || scope("", "", "acme");
    let everywhere = || Scope::EVERYWHERE;
    let claims = |claims: &[Claim]| claims.iter().cloned().collect::<Claims>();
    let marketing = claim(sms(), Tier::Marketing, &[]);
    let all = claim(sms(), Tier::All, &[]);
    let excepted = claim(sms(), Tier::All, &[Utility]);
    let twice = claim(sms(), Tier::All, &[Utility, Authentication]);
    let wide = claim(everywhere(), Tier::Marketing, &[]);
    for (more, less) in
        [(&all, &marketing), (&all, &excepted), (&excepted, &twice), (&wide, &marketing)]
    {
        let expected = claims(std::slice::from_ref(more));
        assert_eq!(claims(&[more.clone(), less.clone()]), expected);
        assert_eq!(claims(&[less.clone(), more.clone()]), expected);
        assert_eq!(expected.with(less.clone()), expected);
        assert_eq!(claims(std::slice::from_ref(less)).union(&expected), expected);
    }
    // These say different things.
    let other = claim(acme(), Tier::All, &[]);
    for (one, two) in [(&all, &other), (&wide, &all), (&excepted, &marketing)] {
        let both = claims(&[one.clone(), two.clone()]);
        assert_eq!(both.iter().count(), 2);
        assert_eq!(both, claims(&[two.clone(), one.clone()]));
        assert!(both.iter().is_sorted());
    }
    // Exceptions are kept in order, once, and only where they mean something.
    let messy = claim(sms(), Tier::All, &[Authentication, Category::Marketing, Utility, Utility]);
    assert_eq!(claims(&[messy]), claims(&[twice]));
    assert_eq!(claims(&[claim(sms(), Tier::Marketing, &[Utility])]), claims(&[marketing]));
}

#[test]
fn a_long_history_of_stops_and_starts_is_decided_by_its_end() {
    let acts = (1..=20_000).map(|seq| {
        let action = if seq % 2 == 1 { OptOut } else { Resubscribe };
        fact(seq, action, seq as i64, seq as i64)
    });
    let facts: Vec<Fact> = acts.collect();
    assert!(sequences(&facts).is_empty());
    assert_eq!(sequences(&facts[..19_999]), [19_999]);
}

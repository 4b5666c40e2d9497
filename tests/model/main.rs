//! The engine against a second telling of the rules: [`rules`] is at most 300 lines written from
//! `docs/verdict.md`, and has nothing of the library's.
//!
//! - `histories`: random histories and lists, and what of them the library is given.
//! - `pure`: the policy alone, over many histories and every order of arrival.
//! - `stores`: through a store that is written, folded, reopened and asked in every way.

#[path = "../common/mod.rs"]
mod common;
mod histories;
mod pure;
mod rules;
mod stores;

/// How many random histories, unless `OPTOUT_TEST_CASES` says otherwise.
fn cases(usual: u64) -> u64 {
    std::env::var("OPTOUT_TEST_CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(usual)
}

#[test]
fn the_rules_are_at_most_300_lines() {
    assert!(include_str!("rules.rs").lines().count() <= 300);
}

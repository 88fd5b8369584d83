//! A model of nodes that share a store: it searches, seed by seed, for a schedule in which the protocol fails.
//!
//! The one thing to know: members, assents, rosters and live indexes are the real ones; only the database, the network,
//! time and the processes are simulated. The search finds nothing with all rules, and something without any one of them:
//! the second half is what makes the first one worth anything. A failure names its seed, and a seed repeats its run.

#![allow(clippy::unwrap_used)]

mod database;
mod node;
mod rules;
mod sim;
mod tokens;
mod world;
mod write;

use engine::token::Token;
use rules::Without;
use world::run;

/// A token for whoever tries an index.
pub(super) fn small_token() -> Token {
    let content = database::Content {
        version: 1,
        present: true,
        active: true,
    };
    tokens::token(0, content)
}

/// Seeds of the search with all rules. Each is about a minute of several nodes' lives.
const SEEDS: u64 = 40;
/// Seeds of the long search.
const SEEDS_LONG: u64 = 20_000;
/// Seeds within which the absence of a rule must be found.
const SEEDS_WITHOUT: u64 = 3_000;

fn search(seeds: std::ops::Range<u64>) {
    let (mut answered, mut verified, mut from_memory) = (0, 0, 0);
    for seed in seeds.clone() {
        let outcome = run(seed, None, false);
        if outcome.violation.is_some() {
            let violation = run(seed, None, true).violation.unwrap_or_default();
            panic!("seed {seed}: {violation}");
        }
        if seed % 1_000 == 999 {
            println!("{} seeds", seed + 1);
        }
        answered += outcome.answered;
        verified += outcome.verified;
        from_memory += outcome.from_memory;
    }
    println!(
        "{} seeds in all: {answered} writes answered, {verified} verifies, {from_memory} of them from memory",
        seeds.count()
    );
    assert!(from_memory * 10 > verified, "memory is what is searched");
}

#[test]
fn no_schedule_breaks_the_protocol() {
    search(0..SEEDS);
}

#[test]
#[ignore = "takes many minutes"]
fn no_schedule_breaks_the_protocol_in_a_long_search() {
    search(0..SEEDS_LONG);
}

#[test]
fn a_seed_repeats_its_run() {
    for seed in 0..4 {
        let (first, second) = (run(seed, None, false), run(seed, None, true));
        assert_eq!(first.steps, second.steps);
        assert_eq!(first.verified, second.verified);
    }
}

/// Takes each of these rules away, beginning with the seed that stands beside it; prints what happens then.
fn are_needed(rules: &[(Without, u64)]) {
    let missing = std::sync::Mutex::new(Vec::new());
    let take_away = |(rule, first): (Without, u64)| {
        let mut seeds = first..first + SEEDS_WITHOUT;
        let Some(seed) = seeds.find(|seed| run(*seed, Some(rule), false).violation.is_some())
        else {
            missing.lock().unwrap().push(rule);
            return;
        };
        let violation = run(seed, Some(rule), true).violation.unwrap_or_default();
        println!("without {rule:?}: seed {seed}: {violation}");
    };
    std::thread::scope(|scope| {
        for some in rules.chunks(rules.len().div_ceil(2)) {
            let take_away = &take_away;
            scope.spawn(move || some.iter().copied().for_each(take_away));
        }
    });
    let missing = missing.into_inner().unwrap();
    assert!(missing.is_empty(), "nothing was found without {missing:?}");
}

/// The rules whose absence the search has found, each with its seed.
fn known() -> Vec<(Without, u64)> {
    let all = Without::ALL.into_iter();
    all.filter_map(|(rule, seed)| seed.map(|seed| (rule, seed)))
        .collect()
}

#[test]
fn each_rule_is_needed() {
    are_needed(&known());
}

#[test]
#[ignore = "takes many minutes"]
fn each_rule_is_needed_in_a_search_from_the_start() {
    let rules: Vec<(Without, u64)> = known().into_iter().map(|(rule, _)| (rule, 0)).collect();
    are_needed(&rules);
}

//! Who exists, and who of them has opted out?
//!
//! # The model
//!
//! Operators get numbers in blocks of 10,000, mostly several neighbouring blocks at once, and
//! fill them. So each country has room for as many allocated blocks as its people need: runs of
//! eight neighbouring blocks, drawn at random from its numbering plan, until there are enough.
//! In each allocated block 8,000 of the 10,000 numbers belong to somebody. Which ones differs
//! from block to block. Large areas have more blocks and are drawn more often.
//!
//! A pseudorandom order of all subscribers decides who has opted out: the first `n` of it. It
//! makes every sample distinct without remembering anything, and a larger list with the same
//! seed contains the smaller one.
//!
//! What the model leaves out: people who opt out are independent of each other, of their
//! operator, their area and the campaign; blocks are equally full everywhere; nobody changes
//! their number; there are no landlines.

use std::io;

use crate::plan::{BlockStart, PLANS, Plan};
use crate::random::{Permutation, Purpose, Random};

/// Numbers in use of each block of 10,000.
const SUBSCRIBERS_PER_BLOCK: u64 = 8_000;
/// Numbers in a block.
const BLOCK_NUMBERS: u64 = 10_000;
/// Neighbouring blocks that are allocated together.
const BLOCKS_PER_RUN: usize = 8;

/// The mixture of countries when none is given.
pub(crate) const COUNTRIES: &str = "MX=40,BR=20,CO=10,AR=8,PE=6,US=6,CL=4,EC=3,ES=3";

/// One person's phone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscriber {
    /// All digits, calling code first, as they are dialled today.
    pub(crate) digits: u64,
    /// The country's plan.
    pub(crate) plan: &'static Plan,
    /// How many digits the area code has.
    pub(crate) area_digits: usize,
}

/// An allocated block, and the order in which its numbers were handed out:
/// `(factor * slot + offset) % 10,000`.
struct Block {
    start: BlockStart,
    plan: u8,
    factor: u16,
    offset: u16,
}

/// Everybody, with those who have opted out in front.
pub(crate) struct Population {
    blocks: Vec<Block>,
    opt_outs: u64,
    order: Permutation,
    recipients: Permutation,
    count: u64,
}

impl Population {
    /// `count` people of the given countries, `opt_outs` of whom have opted out.
    ///
    /// # Errors
    ///
    /// When more opt out than exist, a share can't be read, or a country's plan has no room.
    pub(crate) fn new(
        seed: u64,
        count: u64,
        opt_outs: u64,
        countries: &str,
    ) -> io::Result<Population> {
        if opt_outs > count || count == 0 {
            return Err(io::Error::other(format!(
                "{opt_outs} opt-outs do not fit into a population of {count}: raise --population"
            )));
        }
        let mut random = Random::new(seed, Purpose::Blocks);
        let shares = parse_shares(countries)?;
        let mut blocks = Vec::new();
        for (plan, blocks_wanted) in divide(count.div_ceil(SUBSCRIBERS_PER_BLOCK), &shares) {
            allocate(plan, blocks_wanted as usize, &mut random, &mut blocks)?;
        }
        Ok(Population {
            blocks,
            opt_outs,
            order: Permutation::new(seed, Purpose::OptOuts, count),
            recipients: Permutation::new(seed, Purpose::Recipients, opt_outs.max(1)),
            count,
        })
    }

    /// How many have opted out.
    pub(crate) fn opt_outs(&self) -> u64 {
        self.opt_outs
    }

    /// How many have not.
    pub(crate) fn others(&self) -> u64 {
        self.count - self.opt_outs
    }

    /// Who opted out, in the order of the list.
    pub(crate) fn opt_out(&self, rank: u64) -> Subscriber {
        self.subscriber(self.order.at(rank))
    }

    /// Those who opted out again, in another order: a campaign's list knows nothing of the
    /// order in which people left.
    pub(crate) fn opt_out_in_campaign(&self, rank: u64) -> Subscriber {
        self.opt_out(self.recipients.at(rank))
    }

    /// Who has not opted out.
    pub(crate) fn other(&self, rank: u64) -> Subscriber {
        self.subscriber(self.order.at(self.opt_outs + rank))
    }

    fn subscriber(&self, index: u64) -> Subscriber {
        let block = &self.blocks[(index / SUBSCRIBERS_PER_BLOCK) as usize];
        let slot = index % SUBSCRIBERS_PER_BLOCK;
        let line = (u64::from(block.factor) * slot + u64::from(block.offset)) % BLOCK_NUMBERS;
        Subscriber {
            digits: block.start.prefix * BLOCK_NUMBERS + line,
            plan: &PLANS[usize::from(block.plan)],
            area_digits: usize::from(block.start.area_digits),
        }
    }
}

/// Draws the blocks of one country and gives each its own order of numbers.
fn allocate(
    plan: usize,
    wanted: usize,
    random: &mut Random,
    blocks: &mut Vec<Block>,
) -> io::Result<()> {
    let all = PLANS[plan].blocks();
    if wanted > all.len() {
        return Err(io::Error::other(format!(
            "{} has room for {} subscribers here, {} are asked for: \
             lower --population or the country's share",
            PLANS[plan].country,
            all.len() as u64 * SUBSCRIBERS_PER_BLOCK,
            wanted as u64 * SUBSCRIBERS_PER_BLOCK,
        )));
    }
    let mut runs: Vec<&[BlockStart]> = all.chunks(BLOCKS_PER_RUN).collect();
    random.shuffle(&mut runs);
    blocks.extend(runs.into_iter().flatten().take(wanted).map(|&start| Block {
        start,
        plan: plan as u8,
        factor: coprime_factor(random),
        offset: random.below(BLOCK_NUMBERS) as u16,
    }));
    Ok(())
}

/// A factor without common divisor with 10,000: multiplying by it moves every number of a block
/// to another place, and no two to the same.
fn coprime_factor(random: &mut Random) -> u16 {
    loop {
        let factor = random.below(BLOCK_NUMBERS) as u16;
        if !factor.is_multiple_of(2) && !factor.is_multiple_of(5) {
            return factor;
        }
    }
}

/// Reads `MX=40,BR=20` into indexes of plans and weights.
fn parse_shares(text: &str) -> io::Result<Vec<(usize, u64)>> {
    let known = PLANS.iter().map(|plan| plan.country).collect::<Vec<_>>().join(", ");
    let mut shares: Vec<(usize, u64)> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (country, weight) = part.split_once('=').unwrap_or((part, "1"));
        let plan = PLANS.iter().position(|plan| plan.country.eq_ignore_ascii_case(country.trim()));
        let weight = weight.trim().parse::<u32>().ok().filter(|weight| *weight > 0);
        let (Some(plan), Some(weight)) = (plan, weight) else {
            return Err(io::Error::other(format!(
                "\"{part}\" is not a country's share: write MX=40,BR=20 with any of {known}"
            )));
        };
        if shares.iter().any(|(other, _)| *other == plan) {
            return Err(io::Error::other(format!("{country} stands in the shares twice")));
        }
        shares.push((plan, u64::from(weight)));
    }
    if shares.is_empty() {
        return Err(io::Error::other(format!("no country is given: any of {known}")));
    }
    Ok(shares)
}

/// Splits `total` by weight, so that the parts add up to it.
fn divide(total: u64, shares: &[(usize, u64)]) -> Vec<(usize, u64)> {
    let whole: u64 = shares.iter().map(|(_, weight)| weight).sum();
    let (mut given, mut weights) = (0, 0);
    let parts = shares.iter().map(|&(plan, weight)| {
        weights += weight;
        let upto = (u128::from(total) * u128::from(weights) / u128::from(whole)) as u64;
        let part = upto - given;
        given = upto;
        (plan, part)
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_number_belongs_to_two_subscribers() {
        let population = Population::new(3, 200_000, 20_000, COUNTRIES).unwrap();
        let mut seen = HashSet::new();
        let opt_outs = (0..20_000).map(|rank| population.opt_out(rank));
        let others = (0..180_000).map(|rank| population.other(rank));
        for subscriber in opt_outs.chain(others) {
            assert!(seen.insert(subscriber.digits), "{} twice", subscriber.digits);
        }
        assert_eq!(seen.len(), 200_000);
    }

    #[test]
    fn a_campaign_sees_the_same_opt_outs_in_another_order() {
        let population = Population::new(3, 50_000, 1_000, COUNTRIES).unwrap();
        let list: Vec<u64> = (0..1_000).map(|rank| population.opt_out(rank).digits).collect();
        let mut campaign: Vec<u64> =
            (0..1_000).map(|rank| population.opt_out_in_campaign(rank).digits).collect();
        assert_ne!(list, campaign);
        let mut list = list;
        list.sort_unstable();
        campaign.sort_unstable();
        assert_eq!(list, campaign);
    }

    #[test]
    fn a_longer_list_contains_the_shorter_one() {
        let small = Population::new(3, 50_000, 100, COUNTRIES).unwrap();
        let large = Population::new(3, 50_000, 1_000, COUNTRIES).unwrap();
        for rank in 0..100 {
            assert_eq!(small.opt_out(rank).digits, large.opt_out(rank).digits);
        }
    }

    #[test]
    fn shares_are_met() {
        let population = Population::new(1, 8_000_000, 100_000, "MX=3,BR=1").unwrap();
        let mexican =
            (0..100_000).filter(|rank| population.opt_out(*rank).plan.country == "MX").count();
        assert!(mexican.abs_diff(75_000) < 1_000, "{mexican}");
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_way_out() {
        for (count, opt_outs, countries, wanted) in [
            (10, 11, COUNTRIES, "raise --population"),
            (10, 1, "XX=1", "\"XX=1\""),
            (10, 1, "MX=0", "\"MX=0\""),
            (10, 1, "", "no country"),
            (10, 1, "MX=1,mx=2", "twice"),
            (1_000_000_000, 1, "EC=1", "EC has room for 16000000"),
        ] {
            let error = Population::new(1, count, opt_outs, countries).err().unwrap();
            assert!(error.to_string().contains(wanted), "{error}");
        }
    }
}

//! The purse: no sequence of outcomes, crashes and resumptions spends more than the limit, and prices hold when they say.

use super::ledger::Ledger;
use super::*;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use tempfile::tempdir;

const TABLE: &str = "currency = 'USD'\n[[price]]\nmodel = 'm'\ninput = 1.0\ncached_input = 0.25\noutput = 4.0\n";

fn table(text: &str) -> PriceTable {
    toml::from_str(text).unwrap()
}

fn budget(limit: f64) -> Budget {
    Budget { prices: Some(table(TABLE)), max_cost: Money::of(limit) }
}

fn estimate(request: u64) -> Estimate {
    Estimate { request, prompt_tokens: 1000, completion_tokens: 1000 }
}

fn granted(spend: &mut Spend, request: u64) -> Option<AttemptId> {
    match spend.admit(&estimate(request)).unwrap() {
        Admission::Granted(attempt) => Some(attempt),
        Admission::Refused(_) => None,
    }
}

fn settle(spend: &mut Spend, attempt: AttemptId, charge: Charge) {
    spend.settle(attempt, &Settlement { outcome: "answered", charge, detail: String::new() }).unwrap();
}

fn used(prompt_tokens: u64, cached_tokens: u64, completion_tokens: u64) -> Charge {
    Charge::Used(Usage { prompt_tokens, cached_tokens, completion_tokens })
}

#[test]
fn reserves_become_costs_and_unknown_outcomes_stay_charged() {
    let dir = tempdir().unwrap();
    // A reserve is 1000 x 1 + 1000 x 4 millionths: 0.005.
    let mut spend = Spend::open(dir.path(), None, &budget(0.012), "m").unwrap();
    let (first, second) = (granted(&mut spend, 1).unwrap(), granted(&mut spend, 2).unwrap());
    assert_eq!(granted(&mut spend, 3), None, "0.010 of 0.012 are reserved");
    settle(&mut spend, first, used(800, 400, 100));
    // 400 x 1 + 400 x 0.25 + 100 x 4 = 900 millionths.
    assert_eq!(spend.spent(), Money::of(0.0059));
    let third = granted(&mut spend, 3).unwrap();
    settle(&mut spend, third, Charge::Nothing);
    settle(&mut spend, second, Charge::Unknown);
    assert_eq!(spend.spent(), Money::of(0.0059));
    let note = "0.005900 USD for 3 attempts, 0.002950 per kept trace; 0.005000 of it reserved for 1 of unknown cost";
    assert_eq!(spend.note(2, 4, 4), note);
    assert_eq!(spend.note(2, 4, 10), format!("{note}; about 0.0147 in all"));
    // Whoever reads the ledger says the same.
    assert_eq!(spent(dir.path()).unwrap().map(|spent| spent.words(2)).as_deref(), Some(note));
    assert_eq!(spend.overcharge(), "");
    let left = granted(&mut spend, 4).unwrap();
    drop(spend);
    // The process died with `left` in flight; whoever only reads sees the same and changes nothing, torn line or not.
    let path = dir.path().join("attempts.jsonl");
    let torn = [std::fs::read(&path).unwrap(), b"{\"sum\":\"0".to_vec()].concat();
    std::fs::write(&path, &torn).unwrap();
    let expected = Spent {
        currency: "USD".into(),
        total: Money::of(0.0109).unwrap(),
        attempts: 4,
        unknown: Money::of(0.01).unwrap(),
        unknown_attempts: 2,
    };
    assert_eq!(spent(dir.path()).unwrap(), Some(expected));
    assert_eq!(std::fs::read(&path).unwrap(), torn);
    assert_eq!(spent(tempdir().unwrap().path()).unwrap(), None);
    let mut spend = Spend::open(dir.path(), None, &budget(0.012), "m").unwrap();
    assert_eq!(spend.spent(), Money::of(0.0109));
    let note = spend.note(0, 4, 8);
    assert!(note.ends_with("; about 0.0168 in all"), "what was lost stays spent, beside as much again: {note}");
    assert_eq!(granted(&mut spend, 5), None);
    assert!(left.0 < 5);
}

#[test]
fn no_run_of_luck_spends_more_than_the_limit() {
    for seed in 0..40 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (dir, mut open, mut refused) = (tempdir().unwrap(), vec![], 0);
        let mut spend = Spend::open(dir.path(), None, &budget(0.1), "m").unwrap();
        for request in 0..400 {
            match granted(&mut spend, request) {
                Some(attempt) => open.push(attempt),
                None => refused += 1,
            }
            assert!(spend.spent() <= Money::of(0.1), "seed {seed}");
            while open.len() > (rng.next_u64() % 8) as usize {
                let attempt = open.swap_remove(rng.next_u64() as usize % open.len());
                let share = rng.next_u64() % 1001;
                let charge = [Charge::Nothing, Charge::Unknown, used(share, share / 2, share)];
                settle(&mut spend, attempt, charge[rng.next_u64() as usize % 3]);
            }
            if rng.next_u64() % 20 == 0 {
                open.clear();
                let before = spend.spent();
                drop(spend);
                spend = Spend::open(dir.path(), None, &budget(0.1), "m").unwrap();
                assert_eq!(spend.spent(), before, "a restart changes nothing");
            }
        }
        assert!(refused > 0, "seed {seed} never came to the limit");
    }
}

#[test]
fn every_cut_of_a_ledger_is_safe_and_every_flipped_bit_refused() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("attempts.jsonl");
    let mut spend = Spend::open(dir.path(), None, &budget(1.0), "m").unwrap();
    let first = granted(&mut spend, 1).unwrap();
    spend.commit().unwrap();
    settle(&mut spend, first, used(10, 0, 10));
    granted(&mut spend, 2).unwrap();
    spend.commit().unwrap();
    // Admitted and not committed: it never left.
    let committed = std::fs::read(&path).unwrap().len();
    let truth = spend.spent().unwrap();
    granted(&mut spend, 3).unwrap();
    drop(spend);
    let whole = std::fs::read(&path).unwrap();
    for cut in committed..=whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let ledger = Ledger::open(dir.path(), None).unwrap();
        assert!(ledger.balance.spent() >= truth, "cut at {cut}");
        assert_eq!(std::fs::read(&path).unwrap().len() as u64, cut as u64 - ledger.torn);
    }
    for bit in 0..8 * committed {
        let mut flipped = whole[..committed].to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &flipped).unwrap();
        let opened = Ledger::open(dir.path(), None);
        assert!(matches!(opened, Err(Error::LedgerDamaged { .. })), "bit {bit}: {opened:?}");
    }
}

#[test]
fn the_dearest_price_that_may_hold_is_reserved_and_the_one_that_held_is_paid() {
    let text = "currency = 'CNY'\n\
        [[price]]\nmodel = 'm'\ninput = 1\noutput = 2\n\
        [[price]]\nmodel = 'm'\ninput = 2\noutput = 4\nhours = ['01:00-04:00', '23:30-00:30']\ndays = ['mon']\n\
        [[price]]\nmodel = 'm'\ninput = 9\noutput = 9\nuntil = '2026-01-01'\n\
        [[price]]\nmodel = 'other'\ninput = 99\noutput = 99\n";
    let prices = table(text);
    // 2026-11-23 was a Monday.
    let monday = 1_795_392_000;
    let hour = 3600;
    let cost = |begin: u64, end: u64| prices.between("m", begin, end).unwrap().cost(1_000_000, 0, 0);
    assert_eq!(cost(monday + 5 * hour, monday + 6 * hour), Money::of(1.0).unwrap());
    assert_eq!(cost(monday + hour, monday + hour + 5), Money::of(2.0).unwrap());
    assert_eq!(cost(monday, monday + 5 * hour), Money::of(2.0).unwrap(), "the dear hours lie between");
    assert_eq!(cost(monday + 23 * hour + 1800, monday + 24 * hour - 60), Money::of(2.0).unwrap(), "over midnight");
    assert_eq!(cost(monday + 25 * hour, monday + 26 * hour), Money::of(1.0).unwrap(), "not on a Tuesday");
    assert_eq!(prices.worst("m", monday).unwrap().cost(0, 0, 1_000_000), Money::of(4.0).unwrap());
    assert_eq!(prices.worst("nobody", monday), None);
    for wrong in ["hours = ['1-4']", "from = '2026-13-01'", "days = ['sunday']", "inputt = 1"] {
        let text = format!("currency = 'x'\n[[price]]\nmodel = 'm'\ninput = 1\noutput = 1\n{wrong}\n");
        assert!(toml::from_str::<PriceTable>(&text).is_err(), "{wrong}");
    }
}

#[test]
fn what_cannot_be_priced_is_refused_and_a_free_model_needs_no_price() {
    let dir = tempdir().unwrap();
    let limit = Budget { prices: None, max_cost: Money::of(1.0) };
    assert!(matches!(Spend::open(dir.path(), None, &limit, "m"), Err(Error::NoPrices)));
    assert!(matches!(Spend::open(dir.path(), None, &budget(1.0), "n"), Err(Error::NoPrice { .. })));
    let mut spend = Spend::open(dir.path(), None, &Budget::default(), "n").unwrap();
    let attempt = granted(&mut spend, 1).unwrap();
    settle(&mut spend, attempt, used(1, 0, 1));
    assert_eq!((spend.spent(), spend.note(1, 1, 1)), (None, String::new()));
    let mut spend = Spend::open(dir.path(), None, &budget(1.0), "m").unwrap();
    assert!(granted(&mut spend, 1).is_some());
}

#[test]
fn what_was_counted_goes_on_being_counted_and_prices_that_ended_are_named() {
    let dir = tempdir().unwrap();
    let mut spend = Spend::open(dir.path(), None, &budget(1.0), "m").unwrap();
    granted(&mut spend, 1).unwrap();
    assert_eq!(spend.expired(), None);
    drop(spend);
    let before = std::fs::read(dir.path().join("attempts.jsonl")).unwrap();
    let mut spend = Spend::open(dir.path(), None, &Budget::default(), "m").unwrap();
    let error = *spend.admit(&estimate(2)).unwrap_err().downcast::<Error>().unwrap();
    assert!(matches!(error, Error::PricesLeftOut { .. }) && error.hint().unwrap().contains("`--prices`"), "{error}");
    assert_eq!(std::fs::read(dir.path().join("attempts.jsonl")).unwrap(), before);

    let ended = TABLE.to_string() + "until = '2020-02-01'\n";
    let held = |text: &str| {
        let budget = Budget { prices: Some(table(text)), max_cost: None };
        Spend::open(tempdir().unwrap().path(), None, &budget, "m").unwrap().expired()
    };
    assert!(held(&ended).is_some_and(|said| said.contains("every price of `m` has ended")));
    assert_eq!(held(&format!("{ended}[[price]]\nmodel = 'm'\ninput = 1\noutput = 1\n")), None);

    // A run that began without prices counts from where it has some.
    let dir = tempdir().unwrap();
    let mut spend = Spend::open(dir.path(), None, &Budget::default(), "m").unwrap();
    granted(&mut spend, 1).unwrap();
    drop(spend);
    let mut spend = Spend::open(dir.path(), None, &budget(1.0), "m").unwrap();
    granted(&mut spend, 2).unwrap();
    drop(spend);
    assert_eq!(spent(dir.path()).unwrap().map(|spent| spent.total), Money::of(0.005));
}

#[test]
fn a_server_that_uses_more_than_was_asked_for_is_told_of() {
    let dir = tempdir().unwrap();
    let mut spend = Spend::open(dir.path(), None, &budget(1.0), "m").unwrap();
    let attempt = granted(&mut spend, 1).unwrap();
    // 1000 x 1 + 2000 x 4 millionths where 1000 x 1 + 1000 x 4 were reserved.
    settle(&mut spend, attempt, used(1000, 0, 2000));
    assert_eq!(spend.spent(), Money::of(0.009));
    assert!(spend.overcharge().contains("0.004000 USD beyond"), "{}", spend.overcharge());
}

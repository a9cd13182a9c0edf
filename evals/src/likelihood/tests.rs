//! Likelihoods of a model whose logits are a formula, against the same formula summed in f64.

use super::*;
use candle_core::{Device, Tensor};
use retort_datagen::store::{BenchmarkId, ProblemSet};
use retort_model::observe::Silent;
use retort_model::score::{Chunk, Offer, ScoreError, TopK, check};
use serde_json::Map;

const VOCABULARY: usize = 340;

/// What comes next depends on the last two tokens.
struct Formula {
    vocabulary: usize,
}

impl Formula {
    fn logits(&self, before: &[u32]) -> Vec<f32> {
        let last = f64::from(*before.last().expect("a token"));
        let earlier = before.iter().rev().nth(1).map_or(0.5, |&token| f64::from(token));
        (0..self.vocabulary)
            .map(|token| (2.0 * (1.3 * last + 0.7 * earlier + 2.1 * token as f64).sin()) as f32)
            .collect()
    }

    /// log softmax in f64.
    fn log_p(&self, before: &[u32], token: u32) -> f64 {
        let logits = self.logits(before);
        let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
        f64::from(logits[token as usize]) - sum.ln()
    }

    fn likeliest(&self, before: &[u32]) -> u32 {
        let logits = self.logits(before);
        let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]).then(b.cmp(&a)));
        best.expect("a vocabulary") as u32
    }
}

impl Score for Formula {
    fn model(&self) -> String {
        "formula@1".into()
    }

    fn offer(&self) -> Offer {
        Offer { sampled: true, top_k: 1, full: true, hidden: None }
    }

    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn context(&self) -> usize {
        40
    }

    fn score(
        &self,
        sequences: &[Given<'_>],
        want: Want,
        take: &mut dyn FnMut(Chunk) -> Result<(), JobError>,
    ) -> Result<(), ScoreError> {
        check(self, sequences, want)?;
        for (sequence, given) in sequences.iter().enumerate() {
            for (first, &token) in given.text.iter().enumerate() {
                let before = [given.prompt, &given.text[..first]].concat();
                let rows = match want {
                    Want::Full => {
                        let logits = Tensor::from_vec(self.logits(&before), (1, self.vocabulary), &Device::Cpu);
                        Rows::Full(logits.expect("a tensor"))
                    }
                    _ => {
                        let best = self.likeliest(&before);
                        let [sampled, likeliest] = [token, best].map(|token| self.log_p(&before, token) as f32);
                        Rows::TopK(TopK {
                            k: 1,
                            sampled: vec![sampled],
                            ids: vec![best],
                            logprobs: vec![likeliest],
                            logsumexp: vec![0.0],
                        })
                    }
                };
                take(Chunk { sequence, first, rows }).map_err(ScoreError::Taker)?;
            }
        }
        Ok(())
    }
}

fn tokenizer() -> Tokenizer {
    let text = |at| format!("Question: is {at} water wet or dry, A or B or C or D?\nAnswer: water");
    let texts: Vec<String> = (0..100).map(text).collect();
    Tokenizer::train(&texts, VOCABULARY, &["<s>"]).expect("a tokenizer")
}

fn item(question: &str, choices: &[&str], gold: usize) -> Item {
    let texts = choices.iter().map(|text| (*text).to_owned()).collect();
    Item {
        problem: Problem::new(question.into(), choices[gold].into(), "test", "wet", ""),
        row: Map::new(),
        choices: Some(Choices { texts, gold }),
        stem: String::new(),
    }
}

fn items() -> Vec<Item> {
    let mut items: Vec<Item> = (0..11)
        .map(|at| {
            let choices = [format!("water {at}"), "dry".into(), format!("wet or dry or {at} water")];
            let choices: Vec<&str> = choices.iter().map(String::as_str).collect();
            item(&format!("Question: is {at} wet?\nAnswer {at}:"), &choices, at % 3)
        })
        .collect();
    items.push(item("Question: is it A or B?\nAnswer:", &["A", "B", "C", "D"], 1));
    items.push(item("Question: is it A or B or C?\nAnswer:", &["A", "B", "C", "D"], 3));
    items
}

fn identity(items: &[Item]) -> Identity {
    let (definition, data) = ("d".into(), "e".into());
    let benchmark = BenchmarkId { name: "wet".into(), version: 1, definition, data, bos: false };
    let questions = ProblemSet::of(items.iter().map(|item| &item.problem));
    Identity { generator: "formula@1".into(), benchmark, metric: ChoiceMetric::Acc, questions }
}

fn asked(items: &[Item], batch: usize) -> Result<Vec<Answer>, Error> {
    let folder = tempfile::tempdir().expect("a folder");
    let (tokenizer, model) = (tokenizer(), Formula { vocabulary: VOCABULARY });
    let asked = Asked { model: &model, tokenizer: &tokenizer, bos: None, delimiter: " " };
    Ok(run(&asked, items, &identity(items), folder.path(), batch, &Silent)?.expect("not stopped"))
}

#[test]
fn likelihoods_are_the_sums_that_f64_gives() -> Result<(), Error> {
    let (items, model, tokenizer) = (items(), Formula { vocabulary: VOCABULARY }, tokenizer());
    let answers = asked(&items, 4)?;
    assert_eq!(answers.len(), items.len());
    let (mut one_row, mut acc, mut acc_norm) = (0, vec![], vec![]);
    for (item, answer) in items.iter().zip(&answers) {
        let choices = item.choices.as_ref().expect("choices");
        let mut exact = Vec::new();
        for (choice, (&sum, &greedy)) in choices.texts.iter().zip(answer.log_likelihoods.iter().zip(&answer.greedy)) {
            let stem = tokenizer.encode(&item.problem.problem)?;
            let whole = tokenizer.encode(&format!("{} {choice}", item.problem.problem))?;
            let mut tokens = stem.clone();
            let (mut log_p, mut likeliest) = (0.0, true);
            for &token in &whole[stem.len()..] {
                log_p += model.log_p(&tokens, token);
                likeliest &= model.likeliest(&tokens) == token;
                tokens.push(token);
            }
            assert!((f64::from(sum) - log_p).abs() < 1e-5, "{sum}, not {log_p}");
            assert_eq!(greedy, likeliest);
            exact.push((log_p, log_p / choice.chars().count() as f64));
        }
        let best = |of: &dyn Fn(&(f64, f64)) -> f64| {
            let best = exact.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
            exact.iter().position(|figures| of(figures) == best).expect("one of them")
        };
        one_row += usize::from(answer.choice_tokens.iter().all(|&tokens| tokens == 1));
        acc.push(best(&|figures| figures.0));
        acc_norm.push(best(&|figures| figures.1));
    }
    assert!(one_row > 0 && one_row < answers.len(), "both ways of asking are tried: {one_row}");
    assert_ne!(acc, acc_norm, "the length matters somewhere");
    assert_eq!(answers.iter().map(|answer| answer.chosen(ChoiceMetric::Acc)).collect::<Vec<_>>(), acc);
    assert_eq!(answers.iter().map(|answer| answer.chosen(ChoiceMetric::AccNorm)).collect::<Vec<_>>(), acc_norm);
    Ok(())
}

#[test]
fn the_batch_changes_no_bit() -> Result<(), Error> {
    let items = items();
    let all = asked(&items, items.len())?;
    for batch in [1, 3] {
        assert_eq!(asked(&items, batch)?, all);
    }
    Ok(())
}

#[test]
fn the_first_of_equal_choices_wins_and_length_counts_characters() {
    let answer = |choices: &[&str], log_likelihoods: &[f32]| Answer {
        place: 0,
        problem: Problem::new("q".into(), "a".into(), "", "", ""),
        choices: choices.iter().map(|text| (*text).to_owned()).collect(),
        gold: 0,
        log_likelihoods: log_likelihoods.to_vec(),
        greedy: vec![],
        context_tokens: 1,
        choice_tokens: vec![],
    };
    let tie = answer(&["ab", "cd", "ef"], &[-3.0, -2.0, -2.0]);
    assert_eq!((tie.chosen(ChoiceMetric::Acc), tie.chosen(ChoiceMetric::AccNorm)), (1, 1));
    // Four characters in eight bytes: -2 for each is less than -1.9 for each of five.
    let accents = answer(&["ääää", "abcde"], &[-8.0, -9.5]);
    assert_eq!((accents.chosen(ChoiceMetric::Acc), accents.chosen(ChoiceMetric::AccNorm)), (0, 1));
}

#[test]
fn a_pair_is_parted_where_the_harness_parts_it() -> Result<(), Error> {
    let tokenizer = tokenizer();
    let text = |ids: &[u32]| tokenizer.decode(ids);
    let parted = encode_pair(&tokenizer, None, "Answer: ", "water")?;
    assert_eq!((text(&parted.context)?, text(&parted.continuation)?), ("Answer:".into(), " water".into()));
    assert_eq!(parted, encode_pair(&tokenizer, None, "Answer:", " water")?);
    let bos = tokenizer.id("<s>").expect("special");
    let begun = encode_pair(&tokenizer, Some(bos), "Answer:", " water")?;
    assert_eq!((begun.context[0], &begun.context[1..]), (bos, parted.context.as_slice()));
    assert_eq!(begun.continuation, parted.continuation);
    // `water` is one token, so that `wat` and `er` have nothing of their own where they meet.
    assert_eq!(tokenizer.encode(" water")?.len(), 1);
    let across = encode_pair(&tokenizer, None, " wat", "er")?;
    assert!(across.continuation.is_empty() && !across.context.is_empty(), "{across:?}");
    Ok(())
}

#[test]
fn a_long_context_loses_its_beginning_and_no_choice_is_cut() -> Result<(), Error> {
    let pair = Pair { context: (0..10).collect(), continuation: vec![20, 21] };
    assert_eq!(pair.clone().fitting(12).as_ref(), Some(&pair));
    assert_eq!(pair.clone().fitting(5).map(|pair| pair.context), Some(vec![7, 8, 9]));
    assert_eq!(pair.fitting(2), None);
    let long = [item(&"wet or dry? ".repeat(40), &["water", "dry"], 0)];
    assert!(asked(&long, 1)?[0].context_tokens < 40);
    let endless = [item("Answer:", &["dry", &"wet ".repeat(200)], 0)];
    assert!(matches!(asked(&endless, 1), Err(Error::ChoiceTooLong { context: 40, .. })));
    Ok(())
}

#[test]
fn a_run_goes_on_where_it_was_cut_off() -> Result<(), Error> {
    let (items, folder) = (items(), tempfile::tempdir().expect("a folder"));
    let (tokenizer, model) = (tokenizer(), Formula { vocabulary: VOCABULARY });
    let asked = Asked { model: &model, tokenizer: &tokenizer, bos: None, delimiter: " " };
    let again = |identity: &Identity| run(&asked, &items, identity, folder.path(), 3, &Silent);
    let whole = again(&identity(&items))?.expect("not stopped");
    let path = folder.path().join(FILE);
    let text = std::fs::read(&path).expect("read");
    // Cut anywhere behind the first line, it ends with the same bytes.
    let first = text.iter().position(|&byte| byte == b'\n').expect("a line") + 1;
    for cut in [first, first + 1, text.len() / 2, text.len() - 1, text.len()] {
        std::fs::write(&path, &text[..cut]).expect("written");
        assert_eq!(again(&identity(&items))?.as_ref(), Some(&whole));
        assert_eq!(std::fs::read(&path).expect("read"), text, "cut at {cut}");
    }
    assert_eq!(read(folder.path())?, (identity(&items), whole));
    let other = Identity { generator: "formula@2".into(), ..identity(&items) };
    assert!(matches!(again(&other), Err(Error::OtherLikelihoods { .. })));
    let damaged = String::from_utf8(text).expect("text").replacen("\"place\":1,", "\"place\":2,", 1);
    std::fs::write(&path, damaged).expect("written");
    assert!(matches!(again(&identity(&items)), Err(Error::DamagedLikelihoods { line: 3, .. })));
    Ok(())
}

//! Scoring given text with the embedded teacher: the numbers are those of its logits, whatever shares a pass.

use candle_core::Device;
use retort_model::batch::Batch;
use retort_model::checkpoint::Checkpoint;
use retort_model::decoder::Decoder;
use retort_model::params::frozen;
use retort_model::score::{Branches, Chunk, Given, Rows, Score, ScoreError, Scorer, Want};
use retort_model::workers::Workers;
use retort_teacher::weights::Published;
use retort_teacher::{Config, DeepSeek, embedded};
use std::path::Path;

fn teacher() -> DeepSeek {
    let config = Config::parse(&embedded::files().config, Path::new("config.json")).expect("config");
    let source = Published(Checkpoint::embedded(embedded::WEIGHTS, "teacher").expect("weights"));
    frozen(Box::new(source), &Device::Cpu, |params| DeepSeek::new(config, params)).expect("model")
}

/// Sequences of every length from 2 to 90, so that one pass holds many and all take several passes.
fn texts() -> Vec<Vec<u32>> {
    (2..90u32).map(|length| (0..length).map(|at| (at * at * 31 + length * 17) % 900).collect()).collect()
}

fn given(texts: &[Vec<u32>]) -> Vec<Given<'_>> {
    let cut = |text: &Vec<u32>| 1 + text.len() / 3;
    texts.iter().map(|text| Given { prompt: &text[..cut(text)], text: &text[cut(text)..] }).collect()
}

fn score(decoder: &dyn Decoder, sequences: &[Given<'_>], want: Want) -> Result<Vec<Chunk>, ScoreError> {
    // One worker per thread, as for every model this small.
    let workers = Workers::for_model(1).expect("workers");
    let scorer = Scorer { decoder, workers: &workers, model: "teacher".into() };
    let mut chunks = Vec::new();
    scorer.score(sequences, want, &mut |chunk| {
        chunks.push(chunk);
        Ok(())
    })?;
    Ok(chunks)
}

#[test]
fn rows_are_those_of_the_logits_and_come_in_order() {
    let (teacher, texts) = (teacher(), texts());
    let sequences = given(&texts);
    let all = |want| score(&teacher, &sequences, want).expect("scores");
    let (sampled, top, full, hidden) = (all(Want::Sampled), all(Want::TopK(7)), all(Want::Full), all(Want::Hidden));
    let mut alone = Vec::new();
    let mut expected = sequences.iter().enumerate().flat_map(|(s, given)| (0..given.text.len()).map(move |i| (s, i)));
    for (((sampled, top), full), hidden) in sampled.iter().zip(&top).zip(&full).zip(&hidden) {
        let (Rows::Sampled(logprobs), Rows::TopK(top)) = (&sampled.rows, &top.rows) else { panic!("kinds") };
        let (Rows::Full(logits), Rows::Hidden(states)) = (&full.rows, &hidden.rows) else { panic!("kinds") };
        assert_eq!((&top.sampled, top.k), (logprobs, 7));
        let logits: Vec<Vec<f32>> = logits.to_vec2().expect("logits");
        assert_eq!((logits.len(), states.dims2().expect("states").0), (logprobs.len(), logprobs.len()));
        for (row, logits) in logits.iter().enumerate() {
            let (sequence, place) = expected.next().expect("no row too many");
            assert_eq!((full.sequence, full.first + row), (sequence, place));
            let Given { prompt, text } = sequences[sequence];
            if place == 0 {
                // Alone, through the plain forward pass.
                let fed = [prompt, &text[..text.len() - 1]].concat();
                let plain =
                    teacher.logits(&Batch::packed([&fed]), None).expect("logits").to_vec2::<f32>().expect("rows");
                alone = plain[prompt.len() - 1..].to_vec();
            }
            assert_eq!(&alone[place], logits, "sequence {sequence}, row {place}");
            let logsumexp = logits.iter().map(|&logit| f64::from(logit).exp()).sum::<f64>().ln();
            assert!((f64::from(top.logsumexp[row]) - logsumexp).abs() < 1e-5);
            let logprob = |id: u32| f64::from(logits[id as usize]) - logsumexp;
            assert!((f64::from(logprobs[row]) - logprob(text[place])).abs() < 1e-5);
            let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
            ids.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
            assert_eq!(top.ids[row * 7..][..7], ids[..7]);
            let told = top.logprobs[row * 7..][..7].iter();
            assert!(told.zip(&ids).all(|(&told, &id)| (f64::from(told) - logprob(id)).abs() < 1e-5));
        }
    }
    assert_eq!(expected.next(), None, "every row was told");
}

/// Log-probabilities of every text of every branch.
fn branched(teacher: &DeepSeek, branches: &[Branches<'_>]) -> Vec<Vec<f32>> {
    let workers = Workers::for_model(1).expect("workers");
    let scorer = Scorer { decoder: teacher, workers: &workers, model: "teacher".into() };
    let mut told = vec![vec![]; branches.iter().map(|branch| branch.texts.len()).sum()];
    let taken = scorer.score_branches(branches, Want::Sampled, &mut |chunk| {
        let Rows::Sampled(logprobs) = chunk.rows else { panic!("kinds") };
        assert_eq!(chunk.first, told[chunk.sequence].len(), "rows come in order");
        told[chunk.sequence].extend(logprobs);
        Ok(())
    });
    taken.expect("scores");
    told
}

#[test]
fn texts_behind_one_prompt_are_scored_as_each_with_a_prompt_of_its_own() {
    let (teacher, texts) = (teacher(), texts());
    // Prompts on both sides of a page's border, texts of one token, of several and of none.
    let questions: Vec<(&[u32], Vec<&[u32]>)> = (texts.iter().skip(3).step_by(5).enumerate())
        .map(|(at, text)| (text.as_slice(), [1, 4, 0, 9, 1].iter().map(|&size| &texts[80][at..at + size]).collect()))
        .collect();
    let branches: Vec<Branches<'_>> =
        questions.iter().map(|(prompt, texts)| Branches { prompt, texts: texts.as_slice() }).collect();
    let shared = branched(&teacher, &branches);
    let sequences: Vec<Given<'_>> = branches.iter().flat_map(Branches::sequences).collect();
    let mut apart = vec![vec![]; sequences.len()];
    for chunk in score(&teacher, &sequences, Want::Sampled).expect("scores") {
        let Rows::Sampled(logprobs) = chunk.rows else { panic!("kinds") };
        apart[chunk.sequence].extend(logprobs);
    }
    for ((shared, apart), given) in shared.iter().zip(&apart).zip(&sequences) {
        assert_eq!((shared.len(), apart.len()), (given.text.len(), given.text.len()));
        assert!(shared.iter().zip(apart).all(|(a, b)| (a - b).abs() < 1e-4), "{shared:?} {apart:?}");
    }
    // To the bit the same, whatever is beside it.
    let alone = branches.iter().flat_map(|branch| branch.texts.iter().map(|text| (branch.prompt, *text)));
    for ((prompt, text), shared) in alone.zip(&shared).skip(7).step_by(3) {
        assert_eq!(&branched(&teacher, &[Branches { prompt, texts: &[text] }])[0], shared);
    }
}

#[test]
fn what_cannot_be_scored_is_refused_before_the_first_chunk() {
    let (teacher, tokens) = (teacher(), vec![1u32; 40_000]);
    let refused = |prompt: &[u32], text: &[u32]| {
        let sequences = [Given { prompt: &[1], text: &[2] }, Given { prompt, text }];
        score(&teacher, &sequences, Want::Sampled).expect_err("refused")
    };
    assert!(matches!(refused(&[], &[1]), ScoreError::NoPrompt { sequence: 1 }));
    assert!(matches!(refused(&[1], &[2, 1 << 30]), ScoreError::UnknownToken { sequence: 1, token: 0x4000_0000, .. }));
    assert!(matches!(refused(&[1], &tokens), ScoreError::TooLong { sequence: 1, tokens: 40_001, .. }));
    let vocabulary = teacher.head().rows();
    let beyond = score(&teacher, &[], Want::TopK(vocabulary + 1)).expect_err("refused");
    assert!(beyond.to_string().contains(&format!("the {} likeliest tokens", vocabulary + 1)), "{beyond}");
    assert!(score(&teacher, &[], Want::Full).expect("nothing asked").is_empty());
    // A text of no tokens has no rows; those beside it keep their numbers.
    let beside = [Given { prompt: &[1, 2], text: &[] }, Given { prompt: &[1], text: &[2] }];
    assert_eq!(score(&teacher, &beside, Want::Sampled).expect("scores")[0].sequence, 1);
    // The caller's own error stops the work and comes back.
    let workers = Workers::for_model(usize::MAX).expect("no threads");
    let scorer = Scorer { decoder: &teacher, workers: &workers, model: String::new() };
    let (texts, mut taken) = (texts(), 0);
    let stopped = scorer.score(&given(&texts), Want::Sampled, &mut |_| {
        taken += 1;
        if taken == 3 { Err("enough".into()) } else { Ok(()) }
    });
    assert!(matches!(stopped, Err(ScoreError::Taker(_))) && taken == 3);
}

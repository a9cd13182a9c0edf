//! Rollouts as a stream and as a dataset: what is learnt from them, for how long, and what a killed run leaves.

use candle_core::Device;
use retort_datagen::problem::Problem;
use retort_datagen::run::Plan;
use retort_datagen::sample::Sample;
use retort_datagen::store::{TraceReader, verify};
use retort_distill::Error;
use retort_distill::data::Stream;
use retort_distill::objective::{Objective, Teacher};
use retort_distill::reward::{Review, RewardSettings, Rollouts};
use retort_distill::schedule::{Decay, Schedule};
use retort_distill::trainer::{OptimiserSettings, Precision, TrainSettings, train};
use retort_model::batch::Batch;
use retort_model::capture::Targets;
use retort_model::chat::Thought;
use retort_model::decoder::Trainable;
use retort_model::generate::{Completion, FinishReason, Generate, GenerateError, Jobs};
use retort_model::observe::{Observer, Silent};
use retort_model::params::Fresh;
use retort_model::sampling::Sampling;
use retort_student::{Config, Trainee};
use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

/// Answers 7 in a share of its completions that the request's noise decides, else 8; thinks in two of three.
struct Guesser {
    share_right: f64,
}

impl Generate for Guesser {
    fn name(&self) -> &str {
        "guesser"
    }
    fn fingerprint(&self) -> &str {
        "f"
    }
    fn generate(&self, jobs: &mut dyn Jobs) -> Result<(), GenerateError> {
        while !jobs.cancelled()
            && let Some(request) = jobs.next()
        {
            let [luck, thought] = [0, 1].map(|at| request.noise.uniform(at));
            let answer = if luck < self.share_right { 7 } else { 8 };
            let token_ids = vec![3, answer, (thought * 50.0) as u32];
            let targets = Targets {
                token_logprobs: vec![-0.5, -luck as f32, -0.25],
                logsumexp: vec![1.0; 3],
                widths: vec![0; 3],
                ..Targets::default()
            };
            let text = Thought {
                reasoning: if thought < 0.67 { "hm".into() } else { String::new() },
                response: format!("\\boxed{{{answer}}}"),
                unterminated: false,
            };
            let completion = Completion {
                prompt_token_ids: vec![request.messages[0].content.len() as u32, 1],
                completion_tokens: token_ids.len(),
                token_ids,
                targets: Some(targets),
                prompt_tokens: 2,
                ..Completion::of(text, FinishReason::Stop)
            };
            jobs.done(request.id, completion).map_err(GenerateError::Job)?;
        }
        Ok(())
    }
}

fn problems() -> Vec<Problem> {
    let problem = |n: usize| Problem::new(format!("What is {n} - {}?", n - 7), "7".into(), "test", "arithmetic", "");
    (7..12).map(problem).collect()
}

/// Batches of two groups of four.
fn rollouts<'a>(guesser: &'a Guesser, more: &str, steps: u64) -> Result<Rollouts<'a>, Error> {
    let settings: RewardSettings =
        serde_json::from_str(&format!(r#"{{"group_size":4,"weights":{{"accuracy":1,"format":0.5}}{more}}}"#))
            .expect("settings");
    let sampling = Sampling { temperature: 1.0, top_p: 1.0, max_tokens: 16, ..Sampling::default() };
    Rollouts::new(settings, Plan { sampling, seed: 5, ..Plan::default() }, guesser, &problems(), 8, steps)
}

fn told(stream: &Rollouts, name: &str) -> f64 {
    let told = stream.told(Duration::from_secs(2));
    told.into_iter().find(|(found, _)| found == name).map(|(_, value)| value).expect("it is told")
}

#[test]
fn a_group_learns_from_what_tells_its_completions_apart() -> Result<(), Error> {
    let guesser = Guesser { share_right: 0.5 };
    let stream = rollouts(&guesser, "", 6)?;
    let mut signs = (0, 0);
    for step in 0..6 {
        for group in stream.serve(step)?.examples.chunks(4) {
            let earned: Vec<_> = group.iter().map(|example| example.earned.clone().expect("rewarded")).collect();
            let sum: f32 = earned.iter().map(|earned| earned.advantage).sum();
            assert!(sum.abs() < 1e-5, "{earned:?}");
            for (example, earned) in group.iter().zip(&earned) {
                assert_eq!((example.loss_from, example.tokens.len(), earned.share), (2, 5, 1.0 / 24.0));
                assert_eq!(earned.log_probs.len(), 3);
                assert!(!earned.is_stale);
                let is_right = example.tokens[3] == 7;
                signs.0 += i32::from(is_right && earned.advantage > 0.0);
                signs.1 += i32::from(!is_right && earned.advantage < 0.0);
            }
        }
        let parts = told(&stream, "pass_at_1") + 0.5 * told(&stream, "well_formed");
        assert!((told(&stream, "reward") - parts).abs() < 1e-6);
    }
    assert!(signs.0 > 6 && signs.1 > 6, "{signs:?}");
    assert_eq!(stream.time().update, Duration::from_secs(6 * 3 * 2));
    Ok(())
}

#[test]
fn groups_without_a_signal_are_left_out_and_counted() -> Result<(), Error> {
    for (share_right, more) in [(1.0, r#","weights":{}"#), (0.0, r#","weights":{}"#)] {
        let guesser = Guesser { share_right };
        let settings: RewardSettings = serde_json::from_str(&format!(r#"{{"group_size":4{more}}}"#)).expect("settings");
        let sampling = Sampling { temperature: 1.0, top_p: 1.0, max_tokens: 16, ..Sampling::default() };
        let plan = Plan { sampling, ..Plan::default() };
        let stream = Rollouts::new(settings, plan, &guesser, &problems(), 8, 1)?;
        assert!(stream.serve(0)?.examples.is_empty());
        assert_eq!((told(&stream, "skipped_groups"), told(&stream, "pass_at_1")), (1.0, share_right));
    }
    Ok(())
}

#[test]
fn groups_without_a_signal_are_drawn_anew_as_often_as_that_is_allowed() -> Result<(), Error> {
    let unsure = Guesser { share_right: 0.2 };
    let plain = r#","weights":{"accuracy":1}"#;
    let folder = tempfile::tempdir().expect("folder");
    let stream = |guesser, redraws: u64, dir: &str| {
        let settings = format!(r#"{{"group_size":4,"redraws":{redraws}{plain}}}"#);
        let settings: RewardSettings = serde_json::from_str(&settings).expect("settings");
        let sampling = Sampling { temperature: 1.0, top_p: 1.0, max_tokens: 16, ..Sampling::default() };
        let plan = Plan { sampling, seed: 5, ..Plan::default() };
        Rollouts::new(settings, plan, guesser, &problems(), 8, 6)?.recorded(&folder.path().join(dir))
    };
    let (once, again) = (stream(&unsure, 0, "once")?, stream(&unsure, 8, "again")?);
    let mut redrawn = 0.0;
    for step in 0..6 {
        let (few, all) = (once.serve(step)?, again.serve(step)?);
        // What was asked for first is the same, and what it says of the model too.
        assert_eq!(few.written, all.written[..8]);
        for name in ["pass_at_1", "reward", "skipped_groups"] {
            assert_eq!(told(&once, name), told(&again, name));
        }
        assert_eq!(told(&once, "learnt_groups"), 1.0 - told(&once, "skipped_groups"));
        assert_eq!((all.examples.len(), told(&again, "learnt_groups")), (8, 1.0), "step {step}");
        assert_eq!(all.written.len() as f64, 8.0 + 8.0 * told(&again, "redrawn_groups"));
        redrawn += told(&again, "redrawn_groups");
    }
    assert!(redrawn > 1.0, "{redrawn}");
    again.close()?;
    // Every completion is a row; the record would refuse one that came twice.
    assert_eq!(rows(&folder.path().join("again"))?.len() as f64, 48.0 + 8.0 * redrawn);

    let never = stream(&Guesser { share_right: 0.0 }, 3, "never").map(|stream| {
        let served = stream.serve(0)?;
        Ok::<_, Error>((served.examples.len(), served.written.len(), told(&stream, "redrawn_groups")))
    })??;
    assert_eq!(never, (0, 32, 3.0));
    Ok(())
}

/// Asks to stop from the `n`-th question on.
struct Impatient {
    asked: Cell<u32>,
    patience: u32,
}

impl Observer for Impatient {
    fn cancelled(&self) -> bool {
        self.asked.set(self.asked.get() + 1);
        self.asked.get() > self.patience
    }
}

#[test]
fn a_batch_that_is_interrupted_leaves_nothing() -> Result<(), Error> {
    let (guesser, folder) = (Guesser { share_right: 0.5 }, tempfile::tempdir().expect("folder"));
    let impatient = Impatient { asked: Cell::new(0), patience: 12 };
    let stream = rollouts(&guesser, "", 5)?.recorded(folder.path())?.heeding(&impatient);
    let whole = stream.serve(0)?.examples;
    let interrupted = stream.serve(1).expect_err("interrupted in its fourth completion");
    assert!(interrupted.is_interruption(), "{interrupted}");
    stream.close()?;
    drop(stream);
    assert_eq!(rows(folder.path())?.len(), 8);
    let resumed = rollouts(&guesser, "", 5)?.recorded(folder.path())?;
    assert!(resumed.serve(0)?.examples == whole && !resumed.serve(1)?.examples.is_empty());
    Ok(())
}

#[test]
fn rollouts_serve_so_many_updates_and_a_run_stops_between_them() -> Result<(), Error> {
    let guesser = Guesser { share_right: 0.5 };
    let stream = rollouts(&guesser, r#","iterations":3"#, 6)?;
    let first = stream.serve(0)?.examples;
    for (step, is_stale) in [(1, true), (2, true), (3, false)] {
        let examples = stream.serve(step)?.examples;
        assert!(examples.iter().all(|example| example.earned.as_ref().expect("rewarded").is_stale == is_stale));
        let tokens = |examples: &[retort_distill::data::Example]| -> Vec<Vec<u32>> {
            examples.iter().map(|example| example.tokens.clone()).collect()
        };
        assert_eq!(tokens(&examples) == tokens(&first), is_stale, "step {step}");
        assert_eq!(told(&stream, "staleness"), (step % 3) as f64);
    }
    assert_eq!([0, 1, 2, 3, 4].map(|step| stream.begins(step)), [true, false, false, true, false]);
    Ok(())
}

fn tiny() -> Trainee {
    let config = serde_json::json!({
        "model_type": "qwen2", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
        "tie_word_embeddings": true, "initializer_range": 0.2
    });
    let config = Config::parse(&config.to_string(), Path::new("test")).expect("valid");
    Trainee::new(config, Box::new(Fresh { seed: 6 }), &Device::Cpu).expect("builds")
}

/// A tiny model after `steps` steps by reward.
fn trained(guesser: &Guesser, more: &str, steps: u64) -> Result<Trainee, Error> {
    let (model, out) = (tiny(), tempfile::tempdir().expect("folder"));
    let settings = TrainSettings {
        steps,
        micro_batch_tokens: 20,
        schedule: Schedule { learning_rate: 1e-2, warmup_steps: 0, decay: Decay::Constant, final_share: 0.0 },
        optimiser: OptimiserSettings::default(),
        precision: Precision::F32,
        checkpoint_every: 0,
        report_every: 1,
        average: Some(0.5),
        divergence: 10.0,
    };
    let stream = rollouts(guesser, more, steps)?;
    let objective: RewardSettings = serde_json::from_str(r#"{"group_size":4}"#).expect("settings");
    let objective = Objective::new(objective.objective(), Teacher::None, None)?;
    let outcome = train(&model, &stream, &objective, &settings, None, out.path(), &Silent)?;
    assert_eq!(outcome.steps, steps);
    Ok(model)
}

#[test]
fn what_earned_more_becomes_likelier() -> Result<(), Error> {
    // After "What is ..." and the first token written: the answers 7, which is right, and 8.
    let preference = |model: &Trainee| -> Result<f32, Error> {
        let logits = model.decoder().logits(&Batch::packed([&vec![16, 1, 3]]), None)?.to_vec2::<f32>()?;
        Ok(logits[2][7] - logits[2][8])
    };
    let before = preference(&tiny())?;
    let after = preference(&trained(&Guesser { share_right: 0.5 }, "", 12)?)?;
    assert!(after > before + 1.0, "{after} after {before}");
    Ok(())
}

#[test]
fn steps_with_nothing_to_learn_are_counted_and_move_nothing() -> Result<(), Error> {
    let numbers = |model: &Trainee| -> Result<Vec<Vec<f32>>, Error> {
        let numbers = model.parameters().iter().map(|(_, var)| var.flatten_all()?.to_vec1());
        Ok(numbers.collect::<candle_core::Result<_>>()?)
    };
    let unsure = numbers(&trained(&Guesser { share_right: 0.5 }, "", 3)?)?;
    let sure = numbers(&trained(&Guesser { share_right: 1.0 }, r#","format":{"min_tokens":1}"#, 3)?)?;
    let before = numbers(&tiny())?;
    assert!(sure == before && unsure != before);
    Ok(())
}

fn rows(dir: &Path) -> Result<Vec<Sample>, Error> {
    Ok(TraceReader::open(dir)?.read_all()?)
}

#[test]
fn a_killed_run_leaves_the_rows_of_one_that_was_not() -> Result<(), Error> {
    let folder = tempfile::tempdir().expect("folder");
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    // Five problems, two at a time: the last batches come to problems again.
    let guesser = Guesser { share_right: 0.5 };
    let stream = rollouts(&guesser, "", 5)?.recorded(&whole)?;
    let served = (0..5).map(|step| stream.serve(step)).collect::<Result<Vec<_>, _>>()?;
    let expected: Vec<_> = served.into_iter().map(|served| served.examples).collect();
    stream.close()?;

    let killed = rollouts(&guesser, "", 5)?.recorded(&parts)?;
    for step in 0..3 {
        killed.serve(step)?;
    }
    // No end: what was written is in the journal. The weights were last saved before step 1.
    drop(killed);
    assert_eq!(rows(&parts)?.len(), 24);
    let resumed = rollouts(&guesser, "", 5)?.recorded(&parts)?;
    for step in 1..5 {
        assert!(resumed.serve(step)?.examples == expected[step as usize], "step {step}");
    }
    resumed.close()?;
    assert_eq!(rows(&parts)?.len(), 40);
    // Nothing of the first batches is there.
    let lost = rollouts(&guesser, "", 5)?.recorded(&folder.path().join("lost"))?.serve(3);
    assert!(matches!(lost, Err(Error::NoRollouts { step: 3 })));
    assert!(rows(&whole)? == rows(&parts)?, "other rows");
    let checked = verify(&parts)?;
    assert!(checked.damage.is_empty(), "{:?}", checked.damage);

    let review = Review::read(&parts)?;
    assert_eq!((review.batches, review.first.completions, review.last.completions), (5, 16, 16));
    drop(resumed);
    let other = rollouts(&guesser, r#","clip_high":0.3"#, 5)?.recorded(&parts).map(|_| ());
    assert!(other.expect_err("other settings").to_string().contains("reward.clip_high"));
    Ok(())
}

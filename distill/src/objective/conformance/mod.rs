//! What every objective must hold, as a table: one row per objective, one harness for all.
//!
//! The student and the teacher are bigram models, whose logits are one product, so that the oracle computes everything
//! again in f64 from the formula alone: the packing, the normalisation and the gradient of every parameter (by central
//! differences) are held against it, not only the loss of a row.

mod stage;
mod table;

use super::*;
use crate::data::{Example, Translation};
use stage::{D_TEACHER, Exact, Numbers, Outcome, Stage, V};
use std::sync::Arc;
use table::{Origin, softmax, table};

fn close(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance * (1.0 + expected.abs()), "{what}: {found} against {expected}");
}

#[test]
fn every_objective_agrees_with_its_oracle_and_its_differences() -> Outcome {
    for (term, from, oracle) in table() {
        let stage = Stage::new(from)?;
        let name = format!("{term:?}");
        // Several micro-batches of unequal size: the oracle divides by the targets of the whole step.
        let found = stage.run(vec![term], from, &stage.examples, 9, 0)?;
        let projection = Projected::new(&stage.student, Some(D_TEACHER), 3)?;
        let projection = projection.projection().expect("widths differ").flatten_all()?.to_vec1::<f32>()?;
        let exact = Exact {
            stage: &stage,
            oracle: &oracle,
            weight: term.weight(),
            student: Numbers::of(&stage.student)?,
            teacher: Numbers::of(&stage.teacher)?,
            projection: projection.into_iter().map(f64::from).collect(),
        };
        close(&name, found.value, exact.value(None), 2e-6);
        for (at, &gradient) in found.gradients.iter().enumerate() {
            let step = 1e-5;
            let difference = (exact.value(Some((at, step))) - exact.value(Some((at, -step)))) / (2.0 * step);
            close(&format!("{name}, parameter {at}"), gradient, difference, 3e-6);
        }
    }
    Ok(())
}

/// All terms of the table that a teacher can be asked for, at once.
fn mixture() -> Vec<Term> {
    let asked = table().into_iter().filter(|row| matches!(row.1, Origin::Online | Origin::Tokens)).map(|row| row.0);
    asked.chain([Term::Sampled { weight: 0.5, draws: Some(7) }]).collect()
}

#[test]
fn splits_order_and_filling_change_rounding_only() -> Outcome {
    let mut rows: Vec<(Vec<Term>, Origin)> = table().into_iter().map(|row| (vec![row.0], row.1)).collect();
    rows.push((mixture(), Origin::Online));
    for (terms, from) in rows {
        let stage = Stage::new(from)?;
        let one = stage.run(terms.clone(), from, &stage.examples, 1000, 4)?;
        let reversed: Vec<Example> = stage.examples.iter().rev().cloned().collect();
        // A sequence of which nothing is predicted.
        let filled = [vec![Example::new(vec![3; 6], 6)], stage.examples.clone()].concat();
        for (how, examples, budget) in [
            ("one by one", &stage.examples, 1),
            ("in pieces", &stage.examples, 8),
            ("reversed", &reversed, 1000),
            ("reversed in pieces", &reversed, 8),
            ("filled", &filled, 1000),
        ] {
            let other = stage.run(terms.clone(), from, examples, budget, 4)?;
            let what = format!("{terms:?} {how}");
            close(&what, other.value, one.value, 1e-6);
            one.gradients.iter().zip(&other.gradients).for_each(|(a, b)| close(&what, *b, *a, 1e-6));
        }
    }
    Ok(())
}

#[test]
fn the_number_of_threads_changes_no_bit() -> Outcome {
    let stage = Stage::new(Origin::Online)?;
    let run = |threads: usize| -> Outcome<Vec<u64>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let found = pool.install(|| stage.run(mixture(), Origin::Online, &stage.examples, 8, 2))?;
        Ok(found.gradients.iter().chain([&found.value]).map(|x| x.to_bits()).collect())
    };
    let one = run(1)?;
    assert!(run(2)? == one && run(5)? == one);
    Ok(())
}

#[test]
fn top_k_rises_to_the_dense_divergence() -> Outcome {
    let stage = Stage::new(Origin::Online)?;
    for skewed in [false, true] {
        let value = |rows: Rows| {
            let (weight, temperature) = (1.0, 1.0);
            let term = match skewed {
                false => Term::ForwardKl { weight, temperature, rows },
                true => Term::SkewedReverseKl { weight, alpha: 0.1, temperature, rows },
            };
            Ok::<_, Error>(stage.run(vec![term], Origin::Online, &stage.examples, 1000, 0)?.value)
        };
        let all = value(Rows::Full)?;
        let by_k: Vec<f64> = (1..=V).map(|k| value(Rows::TopK(k))).collect::<Outcome<_>>()?;
        assert!(by_k.windows(2).all(|pair| pair[0] <= pair[1] + 1e-6), "{by_k:?}");
        assert!(by_k[0] < 0.9 * all, "one outcome already says {} of {all}", by_k[0]);
        close("all outcomes", by_k[V - 1], all, 1e-6);
    }
    Ok(())
}

/// Each mean of `draws` must lie within five standard errors of `expected`, and more errors than chance gives must not
/// exceed two.
fn unbiased(what: &str, draws: &[Vec<f64>], expected: &[f64]) {
    let n = draws.len() as f64;
    let mut beyond_two = 0;
    for (at, &expected) in expected.iter().enumerate() {
        let mean = draws.iter().map(|draw| draw[at]).sum::<f64>() / n;
        let variance = draws.iter().map(|draw| (draw[at] - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let error = (variance / n).sqrt();
        let off = (mean - expected).abs();
        assert!(off <= 5.0 * error + 1e-6, "{what}, number {at}: mean {mean} +- {error}, expected {expected}");
        beyond_two += usize::from(off > 2.0 * error + 1e-6);
    }
    // Expected 4.6 in a hundred; the numbers hang together, so there is room.
    assert!(beyond_two * 100 <= 15 * expected.len(), "{what}: {beyond_two} of {} off by two errors", expected.len());
}

#[test]
fn draws_from_the_teacher_are_unbiased() -> Outcome {
    let stage = Stage::new(Origin::Online)?;
    let terms = |term: Term| vec![term];
    let dense = Term::ForwardKl { weight: 1.0, temperature: 1.0, rows: Rows::Full };
    let dense = stage.run(terms(dense), Origin::Online, &stage.examples, 1000, 0)?;
    let sampled = Term::Sampled { weight: 1.0, draws: Some(4) };
    let mut draws = Vec::new();
    for step in 0..1500 {
        let found = stage.run(terms(sampled), Origin::Online, &stage.examples, 1000, step)?;
        draws.push([vec![found.value], found.gradients].concat());
    }
    unbiased("draws", &draws, &[vec![dense.value], dense.gradients.clone()].concat());
    // As many of the likeliest, made to sum to 1, are not: the check above would see it.
    let cut = Term::ForwardKl { weight: 1.0, temperature: 1.0, rows: Rows::TopK(4) };
    let cut = stage.run(terms(cut), Origin::Online, &stage.examples, 1000, 0)?;
    assert!((cut.value - dense.value).abs() > 1e-2, "{} against {}", cut.value, dense.value);
    Ok(())
}

#[test]
fn the_student_s_own_tokens_give_reverse_kl() -> Outcome {
    let stage = Stage::new(Origin::Online)?;
    let start = 4u32;
    let p = softmax(&Numbers::of(&stage.student)?.logits(start as usize), 1.0);
    let run =
        |term: Term, next: u32| stage.run(vec![term], Origin::Online, &[Example::new(vec![start, next], 1)], 1000, 0);
    let exact = run(Term::ReverseKl { weight: 1.0, temperature: 1.0, rows: Rows::Full }, 0)?;
    // The expectation over what the student may write, in full.
    let (mut value, mut gradients) = (0.0, vec![0.0; exact.gradients.len()]);
    for (next, p) in p.iter().enumerate() {
        let found = run(Term::SampledReverseKl { weight: 1.0 }, next as u32)?;
        value += p * found.value;
        gradients.iter_mut().zip(&found.gradients).for_each(|(sum, g)| *sum += p * g);
    }
    close("value", value, exact.value, 1e-6);
    gradients.iter().zip(&exact.gradients).for_each(|(found, exact)| close("gradient", *found, *exact, 2e-6));
    Ok(())
}

#[test]
fn a_translation_is_compared_where_both_have_a_border() -> Outcome {
    let stage = Stage::new(Origin::Online)?;
    let term = vec![Term::Sorted { weight: 1.0, temperature: 1.3 }];
    let plain = stage.run(term.clone(), Origin::Online, &stage.examples, 8, 0)?;
    // The teacher reads two more tokens first, so that its rows lie two further on.
    let translated = |keep: fn(usize) -> bool| -> Vec<Example> {
        let translate = |example: &Example| {
            let rows = (example.loss_from - 1..example.tokens.len() - 1).filter(|&row| keep(row));
            let tokens = [&[7, 9], &example.tokens[..]].concat();
            let translation = Translation { tokens, rows: rows.map(|row| (row, row + 2)).collect() };
            Example { translation: Some(Arc::new(translation)), ..example.clone() }
        };
        stage.examples.iter().map(translate).collect()
    };
    let [all, even, odd] = [translated(|_| true), translated(|row| row % 2 == 0), translated(|row| row % 2 == 1)];
    let run = |examples: &[Example]| stage.run(term.clone(), Origin::Online, examples, 8, 0);
    let (all, even, odd) = (run(&all)?, run(&even)?, run(&odd)?);
    close("all", all.value, plain.value, 1e-6);
    close("in two parts", even.value + odd.value, plain.value, 1e-6);
    assert!(even.value > 0.0 && odd.value > 0.0);
    for (((all, even), odd), plain) in
        all.gradients.iter().zip(&even.gradients).zip(&odd.gradients).zip(&plain.gradients)
    {
        close("all", *all, *plain, 1e-6);
        close("in two parts", even + odd, *plain, 1e-6);
    }
    Ok(())
}

#[test]
fn what_a_teacher_cannot_give_is_refused() -> Outcome {
    let refused = |terms: Vec<Term>, teacher: Teacher| {
        Objective::new(ObjectiveSettings { terms }, teacher, None).map(|_| ()).expect_err("a refusal").to_string()
    };
    let of = |rows: Rows, temperature: f64| vec![Term::ForwardKl { weight: 1.0, temperature, rows }];
    let captured = Teacher::Captured(CapturedForm::TopK(5));
    for (terms, teacher, says) in [
        (of(Rows::Full, 1.0), Teacher::None, "needs a teacher"),
        (of(Rows::Full, 1.0), captured, "its whole distribution"),
        (of(Rows::TopK(6), 1.0), captured, "the 6 likeliest tokens, and the traces captured 5"),
        (of(Rows::TopK(5), 2.0), captured, "temperature 2 and not all rows"),
        (of(Rows::TopK(5), 1.0), Teacher::Captured(CapturedForm::Sampled), "captured draws"),
        (vec![Term::Sampled { weight: 1.0, draws: None }], captured, "draws"),
        (
            vec![Term::JensenShannon { weight: 1.0, beta: 1.0, temperature: 1.0, rows: Rows::Full }],
            captured,
            "`beta` 1",
        ),
        (vec![Term::CrossEntropy { weight: -1.0 }], captured, "`weight` -1"),
        (vec![], captured, "objective.terms"),
    ] {
        let message = refused(terms, teacher);
        assert!(message.contains(says), "`{message}` does not say `{says}`");
    }
    Ok(())
}

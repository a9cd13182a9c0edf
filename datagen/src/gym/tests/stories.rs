//! Every story against a formula written from its words.

use super::super::draw::Draw;
use super::super::stories::{LEVEL_ONE, LEVEL_THREE, LEVEL_TWO, Story};
use super::super::word_problems::evaluate;

type Formula = fn(&[i64]) -> i64;

fn agree(stories: &[Story], formulas: &[Formula]) {
    assert_eq!(stories.len(), formulas.len());
    for (story, formula) in stories.iter().zip(formulas) {
        let mut found = 0;
        for index in 0..20_000 {
            let mut draw = Draw::new(0, "stories", index);
            let numbers: Vec<i64> = story.slots.iter().map(|&(low, high)| draw.between(low, high)).collect();
            if let Some(values) = evaluate(story.steps, &numbers) {
                assert_eq!(values.last(), Some(&formula(&numbers)), "{} {numbers:?}", story.wordings[0]);
                found += 1;
            }
        }
        // Common enough that drawing until the story fits is quick.
        assert!(found >= 100, "{found} of 20000 fit: {}", story.wordings[0]);
        assert!(story.wordings.len() >= 2);
        for wording in story.wordings {
            for at in 0..story.slots.len() {
                let mark = format!("{{{}}}", char::from(b'a' + at as u8));
                assert_eq!(wording.matches(&mark).count(), 1, "{mark} in {wording}");
            }
        }
    }
}

#[test]
fn stories_mean_what_their_steps_compute() {
    agree(
        LEVEL_ONE,
        &[
            |v| v[0] + v[1],
            |v| v[0] - v[1],
            |v| v[0] * v[1],
            |v| v[0] / v[1],
            |v| v[0] + v[1] - v[2],
            |v| v[0] * v[1] + v[2],
            |v| v[2] - v[0] * v[1],
        ],
    );
    agree(
        LEVEL_TWO,
        &[
            |v| v[0] * (1 + v[1]),
            |v| 2 * v[0] + v[1] - v[2],
            |v| v[0] * v[2] + v[1] * v[3],
            |v| v[0] * v[1] - v[2] - v[3],
            |v| v[0] - v[1] + v[2] - v[3],
            |v| (v[0] * v[1] - v[2]) / v[3],
            |v| v[0] / v[1] + v[2],
        ],
    );
    agree(
        LEVEL_THREE,
        &[
            |v| v[4] - v[0] * v[2] - v[1] * v[3],
            |v| v[0] * v[1] + v[2] * v[3] - v[4],
            |v| v[0] + 2 * v[0] * v[1] - v[2],
            |v| (v[0] * v[1] - v[2] - v[3]) / v[4],
            |v| v[0] - v[1] + v[2] - v[3] + v[4],
            |v| (v[0] * v[1] + v[2] * v[3]) / v[4],
            |v| (v[0] / v[1] + v[2]) * v[3] + v[4],
            |v| v[0] + v[1] * v[2] - v[3] - v[4],
        ],
    );
}

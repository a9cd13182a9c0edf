//! Definitions are read whole or refused with the field that is wrong.

use super::*;
use retort_datagen::verify::Rule;

fn refused(text: &str) -> String {
    Definition::parse(text, "mine.toml").expect_err(text).to_string()
}

/// A definition of the fewest lines, with more behind them.
fn small(more: &str) -> String {
    format!(
        "name = 'mine'\nversion = 1\nabout = 'a test'\n[question]\ntext = '{{{{ q }}}}'\ngold = '{{{{ a }}}}'\n{more}"
    )
}

const GENERATION: &str = "[generation]\nprompt = 'chat'\nverify = 'math'\n";

#[test]
fn what_is_shipped_is_valid_and_called_as_its_file() -> Result<(), Error> {
    for (name, text) in SHIPPED {
        let definition = shipped(name).expect("shipped")?;
        assert_eq!(definition.name, name);
        assert_eq!(definition.blake3(), blake3::hash(text.as_bytes()).to_hex().to_string());
        assert!(definition.data.is_some(), "{name} says where its data is");
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("benchmarks");
    assert_eq!(std::fs::read_dir(folder).expect("a folder").count(), SHIPPED.len());
    assert!(shipped("no-such").is_none());
    Ok(())
}

#[test]
fn the_protocol_of_r1_is_that_of_its_paper() -> Result<(), Error> {
    for (name, samples) in [("gsm8k", 4), ("math-500", 4), ("aime-24", 64), ("aime-25", 64), ("gpqa-diamond", 8)] {
        let generation = shipped(name).expect("shipped")?.generation.expect("generation");
        let Sampling { temperature, top_p, max_tokens, .. } = generation.sampling;
        assert_eq!((temperature, top_p, max_tokens), (0.6, 0.95, 32_768), "{name}");
        assert_eq!(generation.prompt, PromptKind::Chat);
        assert_eq!(generation.samples, Some(samples), "{name}");
    }
    let open = Generation { samples: None, ..shipped("gsm8k").expect("shipped")?.generation.expect("generation") };
    let by_size = [(1, 64), (30, 64), (198, 8), (500, 4), (1319, 4), (100_000, 4)];
    assert_eq!(by_size.map(|(problems, _)| open.samples_for(problems)), by_size.map(|(_, samples)| samples));
    Ok(())
}

#[test]
fn the_first_filter_decides_the_verdict() -> Result<(), Error> {
    let generation = shipped("gsm8k-harness").expect("shipped")?.generation.expect("generation");
    let Rule::Filtered(filtered) = generation.rule() else { panic!("not a filter") };
    assert_eq!(filtered, generation.filters[0].filtered());
    Ok(())
}

#[test]
fn what_is_wrong_is_named() {
    Definition::parse(&small(GENERATION), "mine.toml").expect("valid");
    let scored = "[options]\ncolumn = 'o'\n[log_likelihood]\nof = 'texts'\nmetrics = ['acc']\n";
    Definition::parse(&small(scored), "mine.toml").expect("valid");
    for (text, field) in [
        (small(&format!("{GENERATION}temprature = 1")), "`generation.temprature`"),
        (small(&format!("{GENERATION}[generation.sampling]\ntemprature = 1")), "`generation.sampling.temprature`"),
        (small(&format!("{GENERATION}[generation.sampling]\ntop_p = 2.0")), "`generation.sampling.top_p`"),
        (small("[generation]\nprompt = 'chart'\nverify = 'math'"), "`generation.prompt`"),
        (small("[generation]\nprompt = 'chat'"), "`generation.verify`"),
        (small("[generation]\nprompt = 'chat'\nverify = { regex = '(' }"), "`generation.verify`"),
        (small("[generation]\nprompt = 'raw'\nsuffix = 's'\nverify = 'math'"), "`generation.suffix`"),
        (small("[generation]\nprompt = 'raw'\nsamples = 0\nverify = 'math'"), "`generation.samples`"),
        (
            small("[generation]\nprompt = 'raw'\n[[generation.filters]]\nname = 'f'\npattern = '('"),
            "`generation.filters[0]`",
        ),
        (small(""), "`generation`"),
        (small(&format!("{GENERATION}{scored}")), "`log_likelihood`"),
        (small("[log_likelihood]\nof = 'texts'\nmetrics = ['acc']"), "`log_likelihood`"),
        (small(&scored.replace("'acc'", "")), "`log_likelihood.metrics`"),
        (small(&scored.replace("column = 'o'", "")), "`options`"),
        (small(&scored.replace("column = 'o'", "columns = ['a', 'b']\nlabels = 'l'")), "`options.labels`"),
        (small(&format!("{GENERATION}[clean]\nreplace = [['a', 'b'], ['(', '']]")), "`clean.replace[1]`"),
        (small(&format!("{GENERATION}[shots]\ncount = 5\nsplit = 'train'\norder = 'drawn'")), "`shots.seed`"),
        (small(&format!("{GENERATION}[shots]\ncount = 0\nsplit = 'train'\norder = 'first'")), "`shots.count`"),
        (small(GENERATION).replace("{{ q }}", "{{ q"), "`question.text`"),
        (small(GENERATION).replace("'mine'", "'a/b'"), "`name`"),
        (small(GENERATION).replace("version = 1", "version = 'one'"), "`version`"),
        (small(GENERATION).replace("version = 1\n", ""), "version"),
        ("name = ".into(), "the file"),
    ] {
        let error = refused(&text);
        assert!(error.contains(field) && error.contains("mine.toml"), "{error}\nof {text}");
    }
}

#[test]
fn another_number_of_examples_is_another_definition() -> Result<(), Error> {
    let five = shipped("gsm8k-harness").expect("shipped")?;
    let two = five.with_shots(2)?;
    assert_eq!((two.shots.as_ref().map(|shots| shots.count), two.name.as_str()), (Some(2), "gsm8k-harness"));
    assert_ne!(two.blake3(), five.blake3());
    assert_eq!(
        Definition { shots: five.shots.clone(), text: String::new(), ..two },
        Definition { text: String::new(), ..five.clone() }
    );
    assert_eq!(five.with_shots(0)?.shots, None);
    let arc = shipped("arc-easy").expect("shipped")?;
    assert_eq!(arc.with_shots(0)?, arc);
    assert!(matches!(arc.with_shots(1), Err(Error::BadDefinition { field, .. }) if field == "shots"));
    Ok(())
}

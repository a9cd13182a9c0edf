//! A completion in the tokens of a teacher with another tokenizer, and the places where both have read the same text.
//!
//! Two tokenizers cut a text at different places. Where both have a border, both models predict what follows the same
//! text, and what they say can be compared; between borders it cannot (span alignment, as in the cross-tokenizer trainers
//! that followed ULD, arXiv 2402.12030, which itself pairs token i with token i and so compares different places).

use crate::Error;
use crate::data::{Example, Translation};
use retort_model::chat::{ChatTemplate, THINK, opens_thinking};
use retort_model::generate::Message;
use retort_model::text_stream::TextStream;
use retort_model::tokenizer::Tokenizer;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Brings a student's examples into a teacher's tokens.
pub struct Translator<'a> {
    pub student: &'a Tokenizer,
    pub student_template: &'a ChatTemplate,
    pub teacher: &'a Tokenizer,
    pub teacher_template: &'a ChatTemplate,
    /// What ends a turn, of each.
    pub eos: (u32, u32),
    /// The teacher's context length.
    pub context: usize,
}

impl Translator<'_> {
    /// `example`, which answers `question`, with its translation. Text that is no UTF-8, and what is longer than the
    /// teacher's context, gets one without rows: nothing is learnt from it.
    pub fn translate(&self, question: &str, example: Example) -> Result<Example, Error> {
        let messages = [Message::user(question)];
        let prompt = self.teacher_template.prompt(&messages)?;
        let completion = &example.tokens[example.loss_from..];
        let ended = completion.last() == Some(&self.eos.0);
        let written = &completion[..completion.len() - usize::from(ended)];
        let text = self.student.decode(written)?;
        // Each continues a thinking block that its own prompt opened.
        let ours_open = opens_thinking(&self.student_template.prompt(&messages)?);
        let opening = format!("{}\n", THINK.0);
        let (text, skipped, added) = match (ours_open, opens_thinking(&prompt)) {
            (true, false) => (format!("{opening}{text}"), 0, opening.len()),
            (false, true) => match text.strip_prefix(&opening) {
                Some(rest) => (rest.to_string(), opening.len(), 0),
                None => (text, 0, 0),
            },
            _ => (text, 0, 0),
        };
        let mut tokens = self.teacher.encode(&prompt)?;
        let theirs_from = tokens.len();
        tokens.extend(self.teacher.encode(&text)?);
        let their_ends = borders(self.teacher, &tokens[theirs_from..])?;
        if ended {
            tokens.push(self.eos.1);
        }
        let mut rows = Vec::new();
        if tokens.len() <= self.context && theirs_from > 0 && example.loss_from > 0 {
            let theirs: BTreeMap<usize, usize> = their_ends.into_iter().collect();
            for (end, count) in borders(self.student, written)? {
                let place = (end + added).checked_sub(skipped).and_then(|end| theirs.get(&end));
                let (ours, is_predicted) = (example.loss_from + count, count < completion.len());
                if let Some(their_count) = place.filter(|_| is_predicted) {
                    rows.push((ours - 1, theirs_from + their_count - 1));
                }
            }
        }
        tokens.truncate(self.context);
        Ok(Example { translation: Some(Arc::new(Translation { tokens, rows })), ..example })
    }
}

/// The places where a token ends between characters: (bytes of text before it, tokens before it), from (0, 0).
fn borders(tokenizer: &Tokenizer, tokens: &[u32]) -> Result<Vec<(usize, usize)>, Error> {
    let mut stream = TextStream::new(tokenizer);
    let (mut found, mut bytes) = (vec![(0, 0)], 0);
    for count in 1..=tokens.len() {
        let piece = stream.advance(&tokens[..count])?;
        if !piece.is_empty() {
            bytes += piece.len();
            found.push((bytes, count));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_lie_between_characters() -> Result<(), Error> {
        let bytes = Tokenizer::train(&["plain".to_string()], 256, &[])?;
        let tokens = bytes.encode("aé漢b")?;
        assert_eq!(borders(&bytes, &tokens)?, [(0, 0), (1, 1), (3, 3), (6, 6), (7, 7)]);
        Ok(())
    }

    fn template(jinja: &str) -> Result<ChatTemplate, Error> {
        Ok(ChatTemplate::new(&Default::default(), Some(jinja), "test")?)
    }

    #[test]
    fn paired_rows_have_read_the_same_text() -> Result<(), Error> {
        let text = "so twelve and twelve are twenty four, é漢 twelve";
        let fine = Tokenizer::train(&["plain".to_string()], 256, &[])?;
        let coarse = Tokenizer::train(&[text.to_string()], 290, &[])?;
        let (open, closed) =
            (template("{{ messages[0].content }}<think>\n")?, template("Q: {{ messages[0].content }}\n")?);
        for (student, teacher) in [(&fine, &coarse), (&coarse, &fine)] {
            for (student_template, teacher_template) in
                [(&open, &closed), (&closed, &open), (&open, &open), (&closed, &closed)]
            {
                let opens = std::ptr::eq(student_template, &open);
                let written = if opens { text.to_string() } else { format!("<think>\n{text}") };
                let mut tokens = student.encode(&student_template.prompt(&[Message::user("Sum?")])?)?;
                let loss_from = tokens.len();
                tokens.extend(student.encode(&written)?);
                tokens.push(0);
                let eos = (0, 1);
                let translator =
                    Translator { student, student_template, teacher, teacher_template, eos, context: 1000 };
                let example = translator.translate("Sum?", Example::new(tokens.clone(), loss_from))?;
                let translation = example.translation.expect("a translation");
                assert_eq!(translation.tokens.last(), Some(&1), "its own end of turn");
                let their_from = teacher.encode(&teacher_template.prompt(&[Message::user("Sum?")])?)?.len();
                let mut pairs = 0;
                for &(ours, theirs) in &translation.rows {
                    let ours = student.decode(&tokens[loss_from..=ours])?;
                    let theirs = teacher.decode(&translation.tokens[their_from..=theirs])?;
                    assert_eq!(ours.trim_start_matches("<think>\n"), theirs.trim_start_matches("<think>\n"));
                    pairs += 1;
                }
                // Every border of the coarse one is one of the fine one's.
                let words = borders(&coarse, &coarse.encode(text)?)?.len();
                assert!(pairs + 2 >= words, "{pairs} pairs for {words} borders");
                assert_eq!(translation.rows.last(), Some(&(tokens.len() - 2, translation.tokens.len() - 2)));
            }
        }
        Ok(())
    }
}

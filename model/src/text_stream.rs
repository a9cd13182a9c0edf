//! Text of tokens as they come: what a person reads while a model is still writing.

use crate::Error;
use crate::stop_strings::StopStrings;
use crate::tokenizer::Tokenizer;

/// Turns a growing row of tokens into pieces of text, none of which ends inside a character.
///
/// A token's text depends on its neighbours (the first word of some vocabularies loses its space), so the tokens
/// behind the last piece are decoded again with every new one, and only the difference is told.
#[derive(Debug, Clone, Default)]
pub struct TextCursor {
    /// Where the last piece begins.
    begin: usize,
    /// Where it ends.
    told: usize,
}

impl TextCursor {
    /// What `tokens`, all tokens so far, add to the text; empty while their last character is incomplete.
    pub fn advance(&mut self, tokenizer: &Tokenizer, tokens: &[u32]) -> Result<String, Error> {
        let piece = self.rest(tokenizer, tokens)?;
        if piece.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(String::new());
        }
        (self.begin, self.told) = (self.told, tokens.len());
        Ok(piece)
    }

    /// What is left to tell when no token follows; bytes that make no character become U+FFFD.
    pub fn rest(&self, tokenizer: &Tokenizer, tokens: &[u32]) -> Result<String, Error> {
        let known = tokenizer.decode(tokens.get(self.begin..self.told).unwrap_or_default())?;
        let all = tokenizer.decode(tokens.get(self.begin..).unwrap_or_default())?;
        Ok(all.get(known.len()..).unwrap_or_default().into())
    }
}

/// A [`TextCursor`] for readers: with its tokenizer, and holding back what may become a stop string.
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    stops: &'a [String],
    cursor: TextCursor,
    watch: StopStrings,
}

impl<'a> TextStream<'a> {
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self::stopping(tokenizer, &[])
    }

    /// A stream that tells nothing of the first of `stops` nor of what follows it.
    pub fn stopping(tokenizer: &'a Tokenizer, stops: &'a [String]) -> Self {
        Self { tokenizer, stops, cursor: TextCursor::default(), watch: StopStrings::default() }
    }

    /// What `tokens`, all tokens so far, add to the text that may be told.
    pub fn advance(&mut self, tokens: &[u32]) -> Result<String, Error> {
        let piece = self.cursor.advance(self.tokenizer, tokens)?;
        Ok(self.watch.advance(self.stops, &piece))
    }

    /// What is left to tell when no token follows `tokens`.
    pub fn rest(&self, tokens: &[u32]) -> Result<String, Error> {
        let piece = self.cursor.rest(self.tokenizer, tokens)?;
        let mut watch = self.watch.clone();
        Ok(watch.advance(self.stops, &piece) + watch.held())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_characters_and_join_to_the_text() -> Result<(), Error> {
        // A vocabulary of bytes: every other character takes several tokens.
        let tokenizer = Tokenizer::train(&["plain".to_string()], 256, &[])?;
        let text = "naïve — 漢字 🙂 end";
        let tokens = tokenizer.encode(text)?;
        assert!(tokens.len() > text.chars().count());
        let mut stream = TextStream::new(&tokenizer);
        let mut pieces = Vec::new();
        for end in 1..=tokens.len() {
            pieces.push(stream.advance(&tokens[..end])?);
        }
        assert_eq!(pieces.concat(), text);
        assert!(pieces.iter().all(|piece| !piece.contains(char::REPLACEMENT_CHARACTER)));
        assert_eq!(stream.rest(&tokens)?, "");
        Ok(())
    }

    #[test]
    fn an_incomplete_end_is_told_at_the_end() -> Result<(), Error> {
        let tokenizer = Tokenizer::train(&["plain".to_string()], 256, &[])?;
        let tokens = tokenizer.encode("a漢")?;
        let mut stream = TextStream::new(&tokenizer);
        assert_eq!(stream.advance(&tokens[..1])?, "a");
        assert_eq!(stream.advance(&tokens[..2])?, "");
        assert_eq!(stream.rest(&tokens[..2])?, "\u{FFFD}");
        Ok(())
    }

    #[test]
    fn stop_strings_are_held_back_across_tokens() -> Result<(), Error> {
        // Every character is a token or several.
        let tokenizer = Tokenizer::train(&["plain".to_string()], 256, &[])?;
        let stops = vec!["\n漢!".to_string()];
        let told = |text: &str| -> Result<String, Error> {
            let tokens = tokenizer.encode(text)?;
            let mut stream = TextStream::stopping(&tokenizer, &stops);
            let mut told = String::new();
            for end in 1..=tokens.len() {
                told += &stream.advance(&tokens[..end])?;
                assert!(!told.contains('!'), "{told}");
            }
            Ok(told + &stream.rest(&tokens)?)
        };
        assert_eq!(told("a 🙂\n漢! and on")?, "a 🙂");
        assert_eq!(told("a\n漢 and on\n漢")?, "a\n漢 and on\n漢");
        Ok(())
    }
}

//! Scoring at prefill speed: many sequences packed into one pass, the output head run over a chunk of rows at a time.

use super::{Branches, Chunk, Given, Offer, Rows, Score, ScoreError, TopK, Want, branches as branched, check};
use crate::Error;
use crate::batch::Batch;
use crate::capture::Row;
use crate::decoder::Decoder;
use crate::engine::{Engine, logits};
use crate::generate::{Generate, JobError};
use crate::operations::Operations;
use crate::workers::Workers;
use rayon::prelude::*;
use retort_kernels::{Value, gather_rows};
use std::ops::Range;

/// Tokens that one pass takes; a longer sequence has a pass of its own.
pub(super) const PASS_TOKENS: usize = 2048;

/// Numbers in the logits of a chunk: 64 MiB, or 128 rows at 128k tokens of vocabulary.
const CHUNK_LOGITS: usize = 1 << 24;

/// Any decoder as a [`Score`].
pub struct Scorer<'a> {
    pub decoder: &'a dyn Decoder,
    pub workers: &'a Workers,
    /// Name and fingerprint.
    pub model: String,
}

/// Sequences that run through the model together.
pub(super) trait Pass: Send {
    /// Final hidden states of what is asked about; `None` where nothing is.
    fn hidden(&self, decoder: &dyn Decoder) -> Result<Option<Value>, Error>;
    /// The rows that are asked about, in order.
    fn rows(&self) -> Vec<Asked>;
}

/// (sequence, row within it, row of the pass's hidden states, token that came)
pub(super) type Asked = (usize, usize, u32, u32);

/// Sequences one behind the other.
struct Packed<'a> {
    /// The place of the first among all sequences.
    first: usize,
    sequences: &'a [Given<'a>],
}

/// Rows of one pass whose logits are made together.
struct Piece<'p> {
    hidden_nd: &'p Value,
    rows: &'p [Asked],
}

impl Pass for Packed<'_> {
    /// Everything but the last token of each sequence, which nothing is asked behind.
    fn hidden(&self, decoder: &dyn Decoder) -> Result<Option<Value>, Error> {
        let fed = |given: &Given<'_>| {
            let mut tokens = [given.prompt, given.text].concat();
            tokens.pop();
            tokens
        };
        let asked = self.sequences.iter().filter(|given| !given.text.is_empty());
        let batch = Batch::packed(asked.map(fed));
        Ok(if batch.is_empty() { None } else { Some(decoder.hidden(&batch, None)?) })
    }

    fn rows(&self) -> Vec<Asked> {
        let mut rows = Vec::new();
        let mut start = 0;
        for (sequence, given) in (self.first..).zip(self.sequences).filter(|(_, given)| !given.text.is_empty()) {
            let first = start + given.prompt.len() - 1;
            rows.extend(given.text.iter().enumerate().map(|(i, &token)| (sequence, i, (first + i) as u32, token)));
            start = first + given.text.len();
        }
        rows
    }
}

/// Cuts `sequences` into passes of at most [`PASS_TOKENS`] tokens.
fn passes<'a>(sequences: &'a [Given<'a>]) -> Vec<Packed<'a>> {
    let mut passes = Vec::new();
    let (mut first, mut tokens) = (0, 0);
    let pass = |range: Range<usize>| Packed { first: range.start, sequences: &sequences[range] };
    for (index, given) in sequences.iter().enumerate() {
        let length = given.prompt.len() + given.text.len();
        if index > first && tokens + length > PASS_TOKENS {
            passes.push(pass(first..index));
            (first, tokens) = (index, 0);
        }
        tokens += length;
    }
    passes.push(pass(first..sequences.len()));
    passes
}

impl Piece<'_> {
    /// The rows as chunks, one for each sequence that has some among them.
    fn chunks(&self, decoder: &dyn Decoder, want: Want) -> Result<Vec<Chunk>, Error> {
        let index: Vec<u32> = self.rows.iter().map(|&(_, _, row, _)| row).collect();
        let spans = self.rows.chunk_by(|a, b| a.0 == b.0).scan(0, |end, rows| {
            *end += rows.len();
            Some((rows[0].0, rows[0].1, *end - rows.len()..*end))
        });
        let chunk = |(sequence, first, rows)| Chunk { sequence, first, rows };
        match want {
            Want::Hidden | Want::Full => {
                let picked = gather_rows(self.hidden_nd, &index)?;
                let rows = if want == Want::Full { decoder.head().linear(&picked)? } else { picked };
                let part = |span: Range<usize>| rows.tensor().narrow(0, span.start, span.len());
                let wrap = if want == Want::Full { Rows::Full } else { Rows::Hidden };
                spans.map(|(sequence, first, span)| Ok(chunk((sequence, first, wrap(part(span)?))))).collect()
            }
            Want::Sampled | Want::TopK(_) => {
                let logits = logits(decoder, self.hidden_nd, &index)?;
                let k = if let Want::TopK(k) = want { k } else { 0 };
                let row = |at: usize| Row::likeliest(&logits[at], self.rows[at].3, k);
                let rows = |span: Range<usize>| -> Vec<Row> { span.into_par_iter().map(row).collect() };
                let kind = |rows: Vec<Row>| match want {
                    Want::TopK(_) => Rows::TopK(collect(&rows)),
                    _ => Rows::Sampled(rows.iter().map(|row| row.sampled).collect()),
                };
                Ok(spans.map(|(sequence, first, span)| chunk((sequence, first, kind(rows(span))))).collect())
            }
        }
    }
}

fn collect(rows: &[Row]) -> TopK {
    TopK {
        k: rows.first().map_or(0, |row| row.ids.len()),
        sampled: rows.iter().map(|row| row.sampled).collect(),
        ids: rows.iter().flat_map(|row| row.ids.iter().copied()).collect(),
        logprobs: rows.iter().flat_map(|row| row.logprobs.iter().copied()).collect(),
        logsumexp: rows.iter().map(|row| row.logsumexp).collect(),
    }
}

impl Score for Scorer<'_> {
    fn model(&self) -> String {
        self.model.clone()
    }

    fn offer(&self) -> Offer {
        let hidden = Some(self.decoder.head().columns());
        Offer { sampled: true, top_k: self.vocabulary(), full: true, hidden }
    }

    fn vocabulary(&self) -> usize {
        self.decoder.head().rows()
    }

    fn context(&self) -> usize {
        self.decoder.context_length()
    }

    fn operations(&self) -> Option<Operations> {
        Some(self.decoder.operations())
    }

    fn score(
        &self,
        sequences: &[Given<'_>],
        want: Want,
        take: &mut dyn FnMut(Chunk) -> Result<(), JobError>,
    ) -> Result<(), ScoreError> {
        check(self, sequences, want)?;
        self.run(passes(sequences), want, take)
    }

    fn score_branches(
        &self,
        branches: &[Branches<'_>],
        want: Want,
        take: &mut dyn FnMut(Chunk) -> Result<(), JobError>,
    ) -> Result<(), ScoreError> {
        let sequences: Vec<Given<'_>> = branches.iter().flat_map(Branches::sequences).collect();
        check(self, &sequences, want)?;
        self.run(branched::passes(branches), want, take)
    }
}

impl Scorer<'_> {
    /// Runs as many passes side by side as there are workers, then as many pieces of what they gave.
    fn run(
        &self,
        mut passes: Vec<impl Pass>,
        want: Want,
        take: &mut dyn FnMut(Chunk) -> Result<(), JobError>,
    ) -> Result<(), ScoreError> {
        let decoder = self.decoder;
        let rows_per_piece = (CHUNK_LOGITS / self.vocabulary().max(1)).max(1);
        for passes in passes.chunks_mut(self.workers.count()) {
            let hidden = self.workers.map(passes, |pass| pass.hidden(decoder));
            let hidden = hidden.into_iter().collect::<Result<Vec<_>, _>>()?;
            let rows: Vec<_> = passes.iter().map(Pass::rows).collect();
            let pieces = hidden.iter().zip(&rows).filter_map(|(hidden_nd, rows)| Some((hidden_nd.as_ref()?, rows)));
            let mut pieces: Vec<Piece<'_>> = pieces
                .flat_map(|(hidden_nd, rows)| rows.chunks(rows_per_piece).map(move |rows| Piece { hidden_nd, rows }))
                .collect();
            for pieces in pieces.chunks_mut(self.workers.count()) {
                for chunks in self.workers.map(pieces, |piece| piece.chunks(decoder, want)) {
                    chunks?.into_iter().try_for_each(&mut *take).map_err(ScoreError::Taker)?;
                }
            }
        }
        Ok(())
    }
}

impl<D: Decoder> Engine<D> {
    /// This model, asked about given text.
    pub fn scorer(&self) -> Scorer<'_> {
        let model = format!("{}@{}", Generate::name(self), Generate::fingerprint(self));
        Scorer { decoder: &self.decoder, workers: &self.workers, model }
    }
}

impl<D: Decoder> Score for Engine<D> {
    fn model(&self) -> String {
        self.scorer().model
    }

    fn offer(&self) -> Offer {
        self.scorer().offer()
    }

    fn vocabulary(&self) -> usize {
        self.scorer().vocabulary()
    }

    fn context(&self) -> usize {
        self.scorer().context()
    }

    fn operations(&self) -> Option<Operations> {
        self.scorer().operations()
    }

    fn score(
        &self,
        sequences: &[Given<'_>],
        want: Want,
        take: &mut dyn FnMut(Chunk) -> Result<(), JobError>,
    ) -> Result<(), ScoreError> {
        self.scorer().score(sequences, want, take)
    }

    fn score_branches(
        &self,
        branches: &[Branches<'_>],
        want: Want,
        take: &mut dyn FnMut(Chunk) -> Result<(), JobError>,
    ) -> Result<(), ScoreError> {
        self.scorer().score_branches(branches, want, take)
    }
}

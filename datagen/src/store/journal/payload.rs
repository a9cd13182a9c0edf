//! What a frame of the journal carries: a sample and its place, as JSON, and behind it in bytes what was captured of the
//! teacher's distribution, which as text would take twice to three times the room.
//!
//! `{"position":..,"sample":{..}}`, then, where something was captured, a zero byte (which JSON never holds) and the six
//! vectors of [`Targets`]: for each its length and its items, whole numbers as LEB128, floats as four bytes, little-endian.
//! Of those bytes 0xff is written as 0xfe 0x01 and 0xfe as 0xfe 0x00, so that no payload holds a frame's marker. Journals
//! of earlier versions have what was captured in the JSON; they are read as they are.

use crate::sample::Sample;
use retort_model::capture::Targets;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};

/// A sample and its place in the run: `problem * n + sample`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct Record {
    pub position: u64,
    pub sample: Sample,
}

#[derive(Serialize)]
struct RecordRef<'a> {
    position: u64,
    sample: &'a Sample,
}

const BEHIND_TEXT: u8 = 0;
const ESCAPE: u8 = 0xfe;

/// The payload of a sample, which is as before when this returns.
pub(super) fn encode(position: u64, sample: &mut Sample) -> Result<Vec<u8>, serde_json::Error> {
    let targets = sample.targets.take();
    let text = serde_json::to_vec(&RecordRef { position, sample });
    sample.targets = targets;
    let mut payload = text?;
    if let Some(targets) = &sample.targets {
        payload.push(BEHIND_TEXT);
        for byte in pack(targets) {
            match byte {
                ESCAPE.. => payload.extend([ESCAPE, byte - ESCAPE]),
                _ => payload.push(byte),
            }
        }
    }
    Ok(payload)
}

pub(super) fn decode(payload: &[u8]) -> Result<Record, serde_json::Error> {
    let Some(end) = payload.iter().position(|&byte| byte == BEHIND_TEXT) else {
        return serde_json::from_slice(payload);
    };
    let mut record: Record = serde_json::from_slice(&payload[..end])?;
    let mut bytes = Vec::with_capacity(payload.len() - end);
    let mut escaped = false;
    for &byte in &payload[end + 1..] {
        match (escaped, byte) {
            (false, ESCAPE) => {}
            (false, _) => bytes.push(byte),
            (true, _) => bytes.push(ESCAPE | (byte & 1)),
        }
        escaped = !escaped && byte == ESCAPE;
    }
    let targets = unpack(&bytes).ok_or_else(|| serde_json::Error::custom("what was captured is cut short"))?;
    record.sample.targets = Some(targets);
    Ok(record)
}

fn pack(targets: &Targets) -> Vec<u8> {
    let Targets { token_logprobs, logsumexp, widths, ids, logprobs, counts } = targets;
    let mut bytes = Vec::with_capacity(4 * (2 * token_logprobs.len() + logprobs.len()) + 3 * ids.len());
    for floats in [token_logprobs, logsumexp, logprobs] {
        push_number(&mut bytes, floats.len() as u64);
        bytes.extend(floats.iter().flat_map(|float| float.to_le_bytes()));
    }
    for numbers in [widths, ids, counts] {
        push_number(&mut bytes, numbers.len() as u64);
        numbers.iter().for_each(|&number| push_number(&mut bytes, number.into()));
    }
    bytes
}

fn unpack(mut bytes: &[u8]) -> Option<Targets> {
    let rest = &mut bytes;
    let (token_logprobs, logsumexp, logprobs) = (floats(rest)?, floats(rest)?, floats(rest)?);
    let (widths, ids, counts) = (numbers(rest)?, numbers(rest)?, numbers(rest)?);
    rest.is_empty().then_some(Targets { token_logprobs, logsumexp, widths, ids, logprobs, counts })
}

/// LEB128: seven bits to a byte, the lowest first; the highest bit says that more follow.
fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn floats(bytes: &mut &[u8]) -> Option<Vec<f32>> {
    let length = usize::try_from(number(bytes)?).ok()?.checked_mul(4)?;
    let (floats, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(floats.as_chunks::<4>().0.iter().map(|&float| f32::from_le_bytes(float)).collect())
}

fn numbers(bytes: &mut &[u8]) -> Option<Vec<u32>> {
    let length = number(bytes)?;
    (0..length).map(|_| number(bytes).and_then(|number| u32::try_from(number).ok())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::example::samples;

    /// Every byte occurs in it, and numbers of every length.
    fn captured() -> Sample {
        let awkward =
            [f32::NEG_INFINITY, f32::from_bits(0xfeff_fefe), f32::from_bits(0x00ff_01fe), -0.0, f32::MIN_POSITIVE];
        let floats = (0..64).map(|i| f32::from_bits(0x0102_0304_u32.wrapping_mul(4 * i)));
        let floats: Vec<f32> = floats.filter(|float| !float.is_nan()).chain(awkward).collect();
        let ids = (0..32).flat_map(|bit| [1u32 << bit, (1u32 << bit) - 1, u32::MAX >> bit]).collect();
        let targets = Targets {
            widths: vec![0, 127, 128, 300, u32::MAX],
            token_logprobs: floats.clone(),
            logsumexp: vec![],
            logprobs: floats,
            ids,
            counts: vec![1],
        };
        Sample { targets: Some(targets), ..samples().remove(0) }
    }

    #[test]
    fn every_sample_comes_back_and_no_payload_holds_a_marker() {
        for sample in samples().into_iter().chain([captured()]) {
            let mut kept = sample.clone();
            let payload = encode(7, &mut kept).unwrap();
            assert_eq!(kept, sample, "the sample is as it was");
            assert!(!payload.contains(&0xff));
            let record = decode(&payload).unwrap();
            assert_eq!((record.position, record.sample), (7, sample));
        }
    }

    #[test]
    fn what_earlier_versions_wrote_as_text_is_read() {
        let floats: Vec<f32> = (0..9).map(|i| -0.1 * i as f32).collect();
        let targets = Targets { token_logprobs: floats, ids: vec![7], ..Targets::default() };
        let sample = Sample { targets: Some(targets), ..samples().remove(0) };
        let text = serde_json::to_vec(&RecordRef { position: 3, sample: &sample }).unwrap();
        assert_eq!(decode(&text).unwrap().sample, sample);
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        let payload = encode(0, &mut captured()).unwrap();
        for length in 0..payload.len() {
            let end = payload.iter().position(|&byte| byte == 0).unwrap();
            // Without anything behind the text it is a sample of which nothing was captured.
            assert_eq!(decode(&payload[..length]).is_err(), length != end, "{length}");
        }
    }
}

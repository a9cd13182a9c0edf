//! The head of a safetensors file, taken as input from strangers: every claim in it is checked, and named when it lies.
//!
//! Layout: a u64 with the length of the JSON header; the header, `{"name": {"dtype", "shape", "data_offsets": [begin,
//! end]}, ..., "__metadata__": {...}}`; the tensors' bytes, which the offsets must cover without gap or overlap. The
//! format's own library checks as much, but does not say which tensor is at fault and keeps the last of two equal names.

use retort_kernels::Bits;
use safetensors::tensor::Dtype;
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;
use std::fmt;

/// The longest header that the format allows.
const LONGEST: usize = 100_000_000;

/// Dimensions that a tensor of a language model may have; no published one has more than three.
const MOST_DIMENSIONS: usize = 8;

/// One tensor as the header describes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Where its bytes begin and end, counted from the end of the header.
    pub data_offsets: (usize, usize),
}

impl Entry {
    /// The bits and sizes of a matrix in quantised blocks, which safetensors knows as bytes.
    pub(super) fn quantised(&self) -> Option<(Bits, (usize, usize))> {
        if self.dtype == Dtype::U8 { Bits::from_stored_shape(&self.shape) } else { None }
    }

    /// The shape that the model sees.
    pub(super) fn model_shape(&self) -> Vec<usize> {
        match self.quantised() {
            Some((_, (o, i))) => vec![o, i],
            None => self.shape.clone(),
        }
    }

    /// What a person calls the type.
    pub(super) fn type_name(&self) -> String {
        match self.quantised() {
            Some((Bits::Four, _)) => "Q4".into(),
            Some((Bits::Eight, _)) => "Q8".into(),
            None => format!("{:?}", self.dtype),
        }
    }
}

/// A header that describes its file exactly.
#[derive(Debug)]
pub(super) struct Header {
    pub entries: BTreeMap<String, Entry>,
    /// Where the tensors' bytes begin in the file.
    pub start: usize,
}

impl Header {
    /// Parses and checks the header of `file`, the bytes of a whole file. The error is a clause about the file.
    pub(super) fn parse(file: &[u8]) -> Result<Self, String> {
        if file.starts_with(b"version https://git-lfs") {
            return Err("it is a pointer of Git LFS and not the file itself: `git lfs pull` fetches that".into());
        }
        let Some((length, rest)) = file.split_first_chunk::<8>() else {
            return Err(format!("it has {} bytes, too few for the length of a header", file.len()));
        };
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > rest.len().min(LONGEST) {
            return Err(format!("it claims a header of {length} bytes and has {} bytes in all", file.len()));
        }
        let (header, data) = rest.split_at(length);
        let Entries(entries) = serde_json::from_slice(header).map_err(|error| format!("its header: {error}"))?;
        check(&entries, data.len())?;
        Ok(Self { entries, start: file.len() - data.len() })
    }
}

/// Every tensor's bytes fit its type and shape, and all of them together are the file's.
fn check(entries: &BTreeMap<String, Entry>, file_bytes: usize) -> Result<(), String> {
    let mut order: Vec<(&String, &Entry)> = entries.iter().collect();
    order.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut end = 0;
    for (name, Entry { dtype, shape, data_offsets }) in order {
        if shape.len() > MOST_DIMENSIONS || shape.contains(&0) {
            return Err(format!("tensor `{name}` has shape {shape:?}"));
        }
        let bits = shape.iter().try_fold(dtype.bitsize(), |product, &side| product.checked_mul(side));
        let bytes = bits.filter(|bits| bits.is_multiple_of(8)).map(|bits| bits / 8);
        let (begin, stop) = *data_offsets;
        if begin != end || stop < begin || stop > file_bytes {
            return Err(format!(
                "tensor `{name}` lies at bytes {begin} to {stop}; it should begin at {end}, and the data have {file_bytes} bytes"
            ));
        }
        if bytes != Some(stop - begin) {
            return Err(format!("tensor `{name}` has {} bytes, which {dtype:?} {shape:?} does not fill", stop - begin));
        }
        end = stop;
    }
    if end != file_bytes {
        return Err(format!("its tensors have {end} bytes together, the file holds {file_bytes}"));
    }
    Ok(())
}

/// The header's JSON object; a name that comes twice is an error.
struct Entries(BTreeMap<String, Entry>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("an object of tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        use serde::de::Error;
        let mut entries = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let entry = map.next_value().map_err(|error| A::Error::custom(format!("tensor `{name}`: {error}")))?;
            match entries.entry(name) {
                Place::Vacant(place) => place.insert(entry),
                Place::Occupied(place) => {
                    return Err(A::Error::custom(format!("tensor `{}` stands in it twice", place.key())));
                }
            };
        }
        Ok(Entries(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(vec![0; data]);
        bytes
    }

    fn fault(header: &str, data: usize) -> String {
        Header::parse(&file(header, data)).expect_err(header)
    }

    #[test]
    fn a_true_header_is_read() {
        let json = r#"{"__metadata__": {"format": "pt"},
            "b": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [4, 16]},
            "a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}"#;
        let header = Header::parse(&file(json, 16)).expect("a valid header");
        assert_eq!(header.entries["b"].shape, [2, 3]);
        assert_eq!(header.start, 8 + json.len());
        assert_eq!(Header::parse(&file("{}", 0)).expect("an empty file").entries.len(), 0);
    }

    #[test]
    fn every_lie_is_named() {
        let one = |shape: &str, dtype: &str, offsets: &str| {
            format!(r#"{{"w": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": {offsets}}}}}"#)
        };
        for (shape, dtype, offsets, data) in [
            ("[2, 3]", "F32", "[0, 24]", 23),                   // truncated
            ("[2, 3]", "F32", "[0, 24]", 25),                   // trailing bytes
            ("[2, 3]", "F32", "[4, 28]", 28),                   // a gap before it
            ("[2, 3]", "F32", "[24, 0]", 24),                   // backwards
            ("[2, 3]", "BF16", "[0, 24]", 24),                  // wrong size for its type
            ("[2, 0]", "F32", "[0, 0]", 0),                     // nothing in it
            ("[4294967296, 4294967296]", "F32", "[0, 24]", 24), // more than a machine can count
            ("[1,1,1,1,1,1,1,1,1]", "F32", "[0, 4]", 4),        // nine dimensions
            ("[2, 3]", "F33", "[0, 24]", 24),                   // no such type
            ("[-2, 3]", "F32", "[0, 24]", 24),                  // a negative side
            ("[2, 3]", "F32", "[0, 24, 30]", 24),               // three offsets
        ] {
            let message = fault(&one(shape, dtype, offsets), data);
            assert!(message.contains("`w`") || message.contains("24 bytes together"), "{message}");
        }
        let two = |a: &str, b: &str, second: &str| {
            format!(
                r#"{{"a": {{"dtype": "F32", "shape": [1], "data_offsets": {a}}}, "{second}": {{"dtype": "F32", "shape": [1], "data_offsets": {b}}}}}"#
            )
        };
        assert!(fault(&two("[0, 4]", "[2, 6]", "b"), 6).contains("`b`"), "overlap");
        assert!(fault(&two("[0, 4]", "[0, 4]", "a"), 4).contains("twice"), "equal names");
    }

    #[test]
    fn a_length_that_lies_is_refused_before_anything_is_read() {
        for length in [9, 100_000_001, u64::MAX] {
            let mut bytes = length.to_le_bytes().to_vec();
            bytes.extend(b"{}");
            assert!(Header::parse(&bytes).expect_err("too long").contains("claims"));
        }
        assert!(Header::parse(b"1234567").expect_err("short").contains("7 bytes"));
    }
}

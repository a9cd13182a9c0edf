//! Patterns for paths, as `data_files` of a dataset's card has them: `*`, `**`, `?`.

/// Whether `path`, with `/` between its parts, is one that `pattern` means. `*` and `?` stay within a part; `**` is any
/// number of parts.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.trim_start_matches("./").split('/').collect();
    parts(&pattern, &path.split('/').collect::<Vec<_>>())
}

fn parts(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => parts(rest, path) || (!path.is_empty() && parts(pattern, &path[1..])),
        (Some((first, rest)), Some((name, behind))) => part(first.as_bytes(), name.as_bytes()) && parts(rest, behind),
        _ => false,
    }
}

/// One part; the last star takes as much as it must, so the time is the product of the two lengths.
fn part(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name) = (0, 0);
    let mut star = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(sign) if *sign == b'?' || *sign == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => {
                let Some((place, taken)) = star else { return false };
                star = Some((place, taken + 1));
                at = place + 1;
                in_name = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|&sign| sign == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stay_within_a_part_unless_doubled() {
        let cases = [
            ("main/train-*", "main/train-00000-of-00001.parquet", true),
            ("main/train-*", "main/sub/train-0.parquet", false),
            ("./data/*.parquet", "data/a.parquet", true),
            ("**/*.jsonl", "a/b/c.jsonl", true),
            ("**/*.jsonl", "c.jsonl", true),
            ("**", "a/b", true),
            ("data/**/x-?.csv", "data/x-1.csv", true),
            ("data/x-?.csv", "data/x-12.csv", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("train.csv", "train.csv", true),
            ("train", "train.csv", false),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}

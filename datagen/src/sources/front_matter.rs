//! What a dataset's card says of its configs: the list `configs` in the YAML between the first two lines `---`.
//!
//! That list is written in few ways, and these are what is read: block lists and mappings, plain and quoted scalars, and
//! lists in brackets. What is written in another way is an error, not a guess.

use std::iter::Peekable;
use std::str::Lines;

/// One entry of `configs`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Config {
    pub name: String,
    /// The folder that the patterns are about; empty for all of it.
    pub data_dir: String,
    /// Patterns for each split; `train` where they name none.
    pub files: Vec<(String, Vec<String>)>,
}

/// A part of the document.
#[derive(Debug, PartialEq)]
enum Node {
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// More than any card's.
const DEEPEST: usize = 8;

/// The configs of a card; none where it has no such list.
pub(super) fn configs(card: &str) -> Result<Vec<Config>, String> {
    let Some(list) = section(card) else { return Ok(Vec::new()) };
    let mut lines = list.lines().peekable();
    let node = node(&mut lines, 0)?;
    if let Some(line) = lines.next() {
        return Err(format!("`configs` is not understood at `{}`", line.trim()));
    }
    let Node::List(entries) = node else { return Err("`configs` is no list".into()) };
    entries.into_iter().map(config).collect()
}

/// The lines under `configs:`, without blank ones and comments.
fn section(card: &str) -> Option<String> {
    let mut lines = card.trim_start_matches('\u{feff}').lines();
    if lines.next()?.trim_end() != "---" {
        return None;
    }
    let mut lines = lines.take_while(|line| line.trim_end() != "---");
    lines.find(|line| line.trim_end() == "configs:")?;
    let ours = lines.take_while(|line| line.is_empty() || line.starts_with([' ', '-', '#']));
    let said = ours.filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    Some(said.map(|line| format!("{line}\n")).collect())
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// The list or mapping whose first line is the next one.
fn node(lines: &mut Peekable<Lines<'_>>, depth: usize) -> Result<Node, String> {
    if depth > DEEPEST {
        return Err("`configs` is nested too deeply".into());
    }
    let Some(first) = lines.peek().copied() else { return Ok(Node::Text(String::new())) };
    let at = indent(first);
    if !is_item(first) {
        return Ok(Node::Map(fields(lines, at, None, depth)?));
    }
    let mut items = Vec::new();
    while let Some(line) = lines.next_if(|line| indent(line) == at && is_item(line)) {
        let rest = line[at + 1..].trim_start();
        let inner = line.len() - rest.len();
        items.push(match (rest.is_empty(), field(rest)) {
            (true, _) => node(lines, depth + 1)?,
            (false, None) => scalar(rest)?,
            (false, Some(first)) => Node::Map(fields(lines, inner, Some(first), depth)?),
        });
    }
    Ok(Node::List(items))
}

fn is_item(line: &str) -> bool {
    let line = line.trim_start();
    line == "-" || line.starts_with("- ")
}

/// The fields that are indented by `at`; the first one may stand behind the mark of a list.
fn fields<'a>(
    lines: &mut Peekable<Lines<'a>>,
    at: usize,
    mut first: Option<(&'a str, &'a str)>,
    depth: usize,
) -> Result<Vec<(String, Node)>, String> {
    let mut found = Vec::new();
    loop {
        let next = first.take().or_else(|| {
            let line = lines.next_if(|line| indent(line) == at && !is_item(line))?;
            Some(field(line.trim_start()).unwrap_or((line.trim(), "")))
        });
        let Some((name, value)) = next else { return Ok(found) };
        let below = lines.peek().is_some_and(|line| indent(line) > at || (indent(line) == at && is_item(line)));
        let value = match value {
            "" if below => node(lines, depth + 1)?,
            value => scalar(value)?,
        };
        found.push((name.into(), value));
    }
}

/// `name: value`, or `name:` alone.
fn field(text: &str) -> Option<(&str, &str)> {
    if text.starts_with(['"', '\'', '[', '{']) {
        return None;
    }
    if let Some((name, value)) = text.split_once(": ") {
        return Some((name.trim(), value.trim()));
    }
    text.trim_end().strip_suffix(':').map(|name| (name, ""))
}

fn scalar(text: &str) -> Result<Node, String> {
    let text = text.trim();
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let items = inner.split(',').map(str::trim).filter(|item| !item.is_empty());
        return Ok(Node::List(items.map(scalar).collect::<Result<_, _>>()?));
    }
    for quote in ['"', '\''] {
        if let Some(rest) = text.strip_prefix(quote) {
            let inner = rest.strip_suffix(quote).filter(|inner| !inner.contains([quote, '\\']));
            return inner.map(|inner| Node::Text(inner.into())).ok_or_else(|| format!("`{text}` is not understood"));
        }
    }
    if text.starts_with(['{', '&', '*', '!', '|', '>', '[']) {
        return Err(format!("`{text}` is not understood"));
    }
    Ok(Node::Text(text.split(" #").next().unwrap_or_default().trim().into()))
}

fn config(node: Node) -> Result<Config, String> {
    let Node::Map(fields) = node else { return Err("an entry of `configs` is no mapping".into()) };
    let mut config = Config::default();
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("config_name", Node::Text(text)) => config.name = text,
            ("data_dir", Node::Text(text)) => config.data_dir = text,
            ("data_files", value) => config.files = data_files(value)?,
            // What else a card says is about other programs.
            _ => {}
        }
    }
    if config.name.is_empty() {
        config.name = "default".into();
    }
    Ok(config)
}

fn data_files(node: Node) -> Result<Vec<(String, Vec<String>)>, String> {
    let split = |fields: Vec<(String, Node)>| -> Result<(String, Vec<String>), String> {
        let (mut name, mut files) = ("train".to_owned(), Vec::new());
        for (key, value) in fields {
            match (key.as_str(), value) {
                ("split", Node::Text(text)) => name = text,
                ("path", value) => files = paths(value)?,
                (other, _) => return Err(format!("`data_files` has a field `{other}`")),
            }
        }
        Ok((name, files))
    };
    match node {
        // `split: path` for each.
        Node::Map(fields) => fields.into_iter().map(|(name, value)| Ok((name, paths(value)?))).collect(),
        Node::List(items) if items.iter().all(|item| matches!(item, Node::Map(_))) => {
            let maps =
                items.into_iter().filter_map(|item| if let Node::Map(fields) = item { Some(fields) } else { None });
            maps.map(split).collect()
        }
        other => Ok(vec![("train".into(), paths(other)?)]),
    }
}

fn paths(node: Node) -> Result<Vec<String>, String> {
    match node {
        Node::Text(path) => Ok(vec![path]),
        Node::List(items) => Ok(items.into_iter().map(paths).collect::<Result<Vec<_>, _>>()?.concat()),
        Node::Map(_) => Err("`data_files` holds a mapping where a path is expected".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(splits: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
        let paths = |paths: &[&str]| paths.iter().map(|&path| path.to_owned()).collect();
        splits.iter().map(|&(split, files)| (split.to_owned(), paths(files))).collect()
    }

    #[test]
    fn cards_are_read_as_they_are_written() {
        let card = "---\nlicense: mit\nconfigs:\n- config_name: main\n  data_files:\n  - split: train\n    path: main/train-*\n  \
                    - split: test\n    path: main/test-*\n- config_name: 'socratic'\n  data_files:\n    - split: train\n      \
                    path:\n        - \"socratic/a.parquet\"\n        - socratic/b.parquet # the rest\n\ntags:\n- x\n---\n# Title\nconfigs:\n";
        let found = configs(card).expect("reads");
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].name.as_str(), found[1].name.as_str()), ("main", "socratic"));
        assert_eq!(found[0].files, files(&[("train", &["main/train-*"]), ("test", &["main/test-*"])]));
        assert_eq!(found[1].files, files(&[("train", &["socratic/a.parquet", "socratic/b.parquet"])]));

        let found =
            configs("---\nconfigs:\n  - config_name: default\n    data_files: \"data-*.arrow\"\n---\n").expect("reads");
        assert_eq!(found[0].files, files(&[("train", &["data-*.arrow"])]));
        let found = configs("---\nconfigs:\n- config_name: a\n  data_dir: sub\n  data_files: [x.csv, 'y.csv']\n---")
            .expect("reads");
        assert_eq!((found[0].data_dir.as_str(), &found[0].files), ("sub", &files(&[("train", &["x.csv", "y.csv"])])));
        assert_eq!(configs("# no front matter\nconfigs:\n- a: b\n"), Ok(vec![]));
        assert_eq!(configs("---\nlicense: mit\n---\n"), Ok(vec![]));
    }

    #[test]
    fn what_is_written_otherwise_is_said() {
        for list in ["- config_name: a\n  data_files: {train: x}", "- &a\n  b: c", "- |\n  text", "  config: a\n b: c"]
        {
            let card = format!("---\nconfigs:\n{list}\n---\n");
            assert!(configs(&card).is_err(), "{list}");
        }
        let deep: String = (0..200).map(|at| format!("{}a:\n", " ".repeat(at + 1))).collect();
        assert!(configs(&format!("---\nconfigs:\n{deep}---\n")).is_err());
    }
}

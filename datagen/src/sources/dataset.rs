//! The folder of a dataset as the hub's tools leave it: a clone or snapshot with or without a card that lists its files,
//! or what `save_to_disk` writes. Which files make up which split of which config is told here; nothing is read of them.

use super::front_matter::{self, Config};
use super::pattern::matches;
use super::table::{ENDINGS, Selection, ending};
use crate::Error;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Files below a folder that are looked at; a repository of more is given file by file.
const MOST_FILES: usize = 100_000;
/// Folders inside one another that are looked into.
const DEEPEST: usize = 6;
/// A card or a list of files is far smaller.
const MAX_CARD: u64 = 16 << 20;

/// Words by which a path tells its split, as the hub reads them.
const SPLITS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "dev", "val"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
];

/// Splits by name, in the order in which they are listed, with their files below the folder.
type Splits = Vec<(String, Vec<String>)>;

/// The files of the split that is meant, each there.
pub(super) fn files(dir: &Path, selection: &Selection) -> Result<Vec<PathBuf>, Error> {
    let mut configs = layout(dir)?;
    configs.retain(|(_, splits)| !splits.is_empty());
    if configs.is_empty() {
        let reason =
            format!("it holds no files that end in {}", ENDINGS.map(|ending| format!("`.{ending}`")).join(", "));
        return Err(folder(dir, reason, "name the folder of a dataset, or a file"));
    }
    let described = |(name, splits): &(String, Splits)| format!("`{name}` ({})", names(splits));
    let configs_list = configs.iter().map(described).collect::<Vec<_>>().join(", ");
    let default = configs.iter().position(|(name, _)| name == "default");
    let config_names = configs.iter().map(|(name, _)| name.as_str());
    let at = choose(dir, "config", selection.config.as_deref(), config_names, default, configs_list)?;
    let (_, splits) = configs.swap_remove(at);
    let split_names = splits.iter().map(|(name, _)| name.as_str());
    let is_dev =
        |(name, files): &(String, Vec<String>)| name == "validation" && files.iter().all(|file| says_dev(file));
    let asked = match selection.split.as_deref() {
        // Files called so are a validation split where nothing else is.
        Some("dev") if splits.iter().any(is_dev) => Some("validation"),
        asked => asked,
    };
    let at = choose(dir, "split", asked, split_names, None, names(&splits))?;
    let files = &splits[at].1;
    complete(dir, files)?;
    let endings: BTreeSet<_> = files.iter().filter_map(|file| ending(Path::new(file))).collect();
    if endings.len() > 1 {
        let reason =
            format!("the split's files have several formats: {}", endings.into_iter().collect::<Vec<_>>().join(", "));
        return Err(folder(dir, reason, "they may hold the same rows twice: name the file that is meant"));
    }
    Ok(files.iter().map(|file| dir.join(file)).collect())
}

fn names(splits: &Splits) -> String {
    splits.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The place of what is asked for, or of the only one there is.
fn choose<'a>(
    dir: &Path,
    what: &'static str,
    asked: Option<&str>,
    names: impl ExactSizeIterator<Item = &'a str> + Clone,
    default: Option<usize>,
    choices: String,
) -> Result<usize, Error> {
    let path = dir.to_path_buf();
    match asked {
        Some(asked) => names.clone().position(|name| name == asked).ok_or_else(|| {
            let asked = asked.to_owned();
            Error::NoChoice { path, what, asked, choices }
        }),
        None if names.len() == 1 => Ok(0),
        None => default.ok_or(Error::Ambiguous { path, what, choices }),
    }
}

/// Every config with its splits.
fn layout(dir: &Path) -> Result<Vec<(String, Splits)>, Error> {
    if let Some(text) = small_file(dir, "dataset_dict.json")? {
        let Dict { splits } = json(dir, "dataset_dict.json", &text)?;
        let files = |split: String| {
            plain(dir, &split)?;
            let files = saved(&dir.join(&split))?.unwrap_or_default();
            Ok((split.clone(), files.into_iter().map(|file| format!("{split}/{file}")).collect()))
        };
        return Ok(vec![("default".into(), splits.into_iter().map(files).collect::<Result<_, Error>>()?)]);
    }
    if let Some(files) = saved(dir)? {
        return Ok(vec![("default".into(), vec![("train".into(), files)])]);
    }
    let all = listing(dir)?;
    let card = small_file(dir, "README.md")?.unwrap_or_default();
    let configs = front_matter::configs(&card).map_err(|reason| {
        let reason = format!("the list `configs` in its `README.md` cannot be read: {reason}");
        folder(dir, reason, "name the files themselves, or rewrite the list in the usual way")
    })?;
    let named = configs.iter().any(|config| !config.files.is_empty());
    Ok(if named { by_card(configs, &all) } else { by_names(all) })
}

fn by_card(configs: Vec<Config>, all: &[String]) -> Vec<(String, Splits)> {
    let splits = |config: Config| {
        let within = config.data_dir.trim_matches(['.', '/']).to_owned();
        let place = |pattern: &String| if within.is_empty() { pattern.clone() } else { format!("{within}/{pattern}") };
        let files = |patterns: &[String]| -> Vec<String> {
            let patterns: Vec<String> = patterns.iter().map(place).collect();
            all.iter().filter(|file| patterns.iter().any(|pattern| matches(pattern, file))).cloned().collect()
        };
        let splits = config.files.iter().map(|(split, patterns)| (split.clone(), files(patterns)));
        (config.name, splits.filter(|(_, files)| !files.is_empty()).collect())
    };
    configs.into_iter().map(splits).collect()
}

/// Configs are folders, splits stand in the names.
fn by_names(all: Vec<String>) -> Vec<(String, Splits)> {
    let told = all.iter().any(|file| split_of(file).is_some());
    let mut configs: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for file in all {
        let (top, below) = file.split_once('/').unwrap_or(("", &file));
        let is_config = !top.is_empty() && top != "data" && split_word(top).is_none();
        let (config, rest) = if is_config { (top, below) } else { ("default", file.as_str()) };
        let stem = rest.rsplit('/').next().and_then(|name| name.split('.').next()).unwrap_or_default();
        // Beside files that tell their split, one that does not is a split of its own.
        let split = split_of(rest).unwrap_or_else(|| if told { stem.into() } else { "train".into() });
        configs.entry(config.into()).or_default().entry(split).or_default().push(file);
    }
    // Beside a validation split, `dev` is another: MMLU's examples.
    for splits in configs.values_mut() {
        let validation = splits.get_mut("validation");
        if let Some(files) = validation.filter(|files| !files.iter().all(|file| says_dev(file))) {
            let dev: Vec<String> = files.extract_if(.., |file| says_dev(file)).collect();
            if !dev.is_empty() {
                splits.insert("dev".into(), dev);
            }
        }
    }
    configs.into_iter().map(|(name, splits)| (name, splits.into_iter().collect())).collect()
}

/// Whether `dev` is the word by which a path tells its split.
fn says_dev(path: &str) -> bool {
    let known = |word: &str| SPLITS.iter().any(|(_, known)| known.contains(&word));
    let lower = path.to_ascii_lowercase();
    lower.rsplit(|sign: char| !sign.is_ascii_alphanumeric()).find(|word| known(word)) == Some("dev")
}

/// The split that a path tells: what stands before `-00000-of-00002`, or one of the known words.
fn split_of(path: &str) -> Option<String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    match shard(name) {
        Some((split, _, _)) => Some(split_word(split).unwrap_or(split).to_owned()),
        None => split_word(path).map(str::to_owned),
    }
}

/// The split whose word stands in `path` between other signs than letters and digits; the last one counts.
fn split_word(path: &str) -> Option<&'static str> {
    let lower = path.to_ascii_lowercase();
    let mut words = lower.rsplit(|sign: char| !sign.is_ascii_alphanumeric());
    words.find_map(|word| SPLITS.iter().find(|(_, known)| known.contains(&word)).map(|(split, _)| *split))
}

/// `train-00001-of-00002.parquet`: the part before, the number, and how many there are.
fn shard(name: &str) -> Option<(&str, u32, u32)> {
    let (before, of) = name.rsplit_once("-of-")?;
    let (split, number) = before.rsplit_once('-')?;
    let digits = |text: &str| (text.len() == 5).then(|| text.parse::<u32>().ok()).flatten();
    Some((split, digits(number)?, digits(of.split('.').next()?)?))
}

/// Refuses a split of which parts are missing.
fn complete(dir: &Path, files: &[String]) -> Result<(), Error> {
    let mut sets: BTreeMap<(String, u32), BTreeSet<u32>> = BTreeMap::new();
    for file in files {
        let (within, name) = file.rsplit_once('/').unwrap_or(("", file));
        if let Some((split, number, of)) = shard(name) {
            sets.entry((format!("{within}/{split}"), of)).or_default().insert(number);
        }
    }
    for ((split, of), numbers) in sets {
        if let Some(missing) = (0..of).find(|number| !numbers.contains(number)) {
            let split = split.trim_start_matches('/');
            let reason = format!("`{split}-{missing:05}-of-{of:05}` is missing");
            return Err(folder(dir, reason, "fetch the rest of it (`git lfs pull`, or download it again)"));
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Dict {
    splits: Vec<String>,
}

/// `state.json` of `save_to_disk`.
#[derive(Deserialize)]
struct State {
    _data_files: Vec<DataFile>,
}

#[derive(Deserialize)]
struct DataFile {
    filename: String,
}

/// The files that `save_to_disk` lists in its folder; `None` where it wrote none.
fn saved(dir: &Path) -> Result<Option<Vec<String>>, Error> {
    let Some(text) = small_file(dir, "state.json")? else { return Ok(None) };
    let State { _data_files: files } = json(dir, "state.json", &text)?;
    files.iter().try_for_each(|file| plain(dir, &file.filename))?;
    Ok(Some(files.into_iter().map(|file| file.filename).collect()))
}

fn json<'a, T: Deserialize<'a>>(dir: &Path, name: &str, text: &'a str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| {
        folder(dir, format!("its `{name}` is not what `save_to_disk` writes: {error}"), "save it again")
    })
}

/// A name from a file that leads out of its folder is no name.
fn plain(dir: &Path, name: &str) -> Result<(), Error> {
    if Path::new(name).file_name().is_some_and(|last| last == name) {
        return Ok(());
    }
    Err(folder(dir, format!("it lists `{}`, which is no file in it", name.escape_debug()), "save it again"))
}

/// A small text file of the folder; `None` where it is not there.
fn small_file(dir: &Path, name: &str) -> Result<Option<String>, Error> {
    let path = dir.join(name);
    let Ok(about) = std::fs::metadata(&path) else { return Ok(None) };
    if about.len() > MAX_CARD {
        return Err(folder(dir, format!("its `{name}` has {} bytes", about.len()), "name the data files themselves"));
    }
    std::fs::read_to_string(&path).map(Some).map_err(|source| Error::Io { action: "read", path, source })
}

/// Every readable file below `dir`, by its path from there, sorted. Links to files are followed: a cache has nothing else.
fn listing(dir: &Path) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    let mut folders = vec![(String::new(), 0)];
    while let Some((within, depth)) = folders.pop() {
        let path = dir.join(&within);
        let failed = |source| Error::Io { action: "read", path: path.clone(), source };
        for entry in std::fs::read_dir(&path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            // Hidden files, caches and lock files are not the dataset's.
            if name.starts_with(['.', '_']) || name.starts_with("cache-") {
                continue;
            }
            let inner = if within.is_empty() { name } else { format!("{within}/{name}") };
            let place = dir.join(&inner);
            if place.is_dir() && depth < DEEPEST {
                folders.push((inner, depth + 1));
            } else if place.is_file() && ending(&place).is_some_and(|ending| ENDINGS.contains(&ending)) {
                found.push(inner);
            }
            if found.len() + folders.len() > MOST_FILES {
                return Err(folder(dir, format!("it holds more than {MOST_FILES} files"), "name the files themselves"));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn folder(dir: &Path, reason: String, remedy: &'static str) -> Error {
    Error::DatasetFolder { path: dir.into(), reason, remedy }
}

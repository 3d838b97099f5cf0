//! What a user can say about a machine and its run: the options of `undercroft run`, which are also the keys of a
//! machine file (TOML).

use crate::amount::{Count, Size};
use anyhow::{Context, Result, bail};
use clap::CommandFactory;
use serde::Deserialize;
use std::fs;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Everything that can be set. The same structure reads the command line and a machine file, so that both have the
/// same keys.
#[derive(clap::Args, Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case", default)]
pub struct Settings {
    /// Kernel: a bzImage, a multiboot or PVH ELF image
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// Initial RAM file system of a Linux kernel
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,
    /// Command line of the kernel
    #[arg(long, value_name = "STRING", allow_hyphen_values = true)]
    pub append: Option<String>,
    /// Multiboot module and its arguments; may be repeated, order counts
    #[arg(long, value_name = "FILE[,ARGS]")]
    pub module: Vec<Module>,
    /// Raw disk image, read and written; may be repeated, the first is the first virtio disk
    #[arg(long, value_name = "FILE")]
    pub disk: Vec<PathBuf>,
    /// RAM, as 512M or 4G (K, M, G are powers of 1024) [default: 1G]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Size>,
    /// Processors [default: 1]
    #[arg(long, value_name = "N")]
    pub cpus: Option<NonZeroU32>,
    /// Where the first serial port goes: stdio, file:PATH or none [default: stdio]
    #[arg(long, value_name = "WHERE")]
    pub serial: Option<Serial>,
    /// Stop after N instructions, all processors together (K, M, G are powers of 1000)
    #[arg(long, value_name = "N")]
    pub max_instructions: Option<Count>,
    /// Seed of everything that is random in the machine [default: 0]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Print figures of the run on stderr when it ends
    #[arg(long)]
    pub stats: bool,
    /// Print the hash of the machine's state on stderr at these instruction counts
    #[arg(long, value_name = "N[,N...]", value_delimiter = ',')]
    pub state_hash_at: Vec<Count>,
    /// Save a snapshot at instruction N; may be repeated
    #[arg(long, value_name = "N:FILE")]
    pub save_at: Vec<SaveAt>,
    /// Continue from a snapshot instead of a kernel
    #[arg(long, value_name = "FILE")]
    pub restore: Option<PathBuf>,
    /// Instructions that a processor runs before the next one's turn
    #[arg(long, value_name = "N")]
    pub quantum: Option<NonZeroU64>,
}

/// A boot module: a file, and the text that multiboot calls its string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The module's file.
    pub file: PathBuf,
    /// Its arguments; empty when none were given.
    pub arguments: String,
}

/// Where the first serial port is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serial {
    /// Standard input and output.
    Stdio,
    /// Output to a file; no input.
    File(PathBuf),
    /// Nothing.
    None,
}

/// A snapshot to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaveAt {
    /// Instruction count at which it is taken.
    pub count: Count,
    /// File that receives it.
    pub file: PathBuf,
}

impl FromStr for Module {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (file, arguments) = text.split_once(',').unwrap_or((text, ""));
        if file.is_empty() {
            bail!("a module is FILE or FILE,ARGS, with a file");
        }
        Ok(Module { file: file.into(), arguments: arguments.into() })
    }
}

impl FromStr for Serial {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match (text, text.strip_prefix("file:")) {
            ("stdio", _) => Ok(Serial::Stdio),
            ("none", _) => Ok(Serial::None),
            (_, Some(path)) if !path.is_empty() => Ok(Serial::File(path.into())),
            _ => bail!("`{text}` is none of stdio, file:PATH and none"),
        }
    }
}

impl FromStr for SaveAt {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some((count, file)) if !file.is_empty() => Ok(SaveAt { count: count.parse()?, file: file.into() }),
            _ => bail!("`{text}` is not of the form N:FILE"),
        }
    }
}

/// Reads a value from a file's text as the command line reads it.
macro_rules! deserialize_as_text {
    ($($name:ty),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(|error| serde::de::Error::custom(format!("{error:#}")))
            }
        }
    )*};
}
deserialize_as_text!(Module, Serial, SaveAt);

/// For the names of the options alone.
#[derive(clap::Parser)]
struct Names {
    #[command(flatten)]
    _settings: Settings,
}

/// The keys of a machine file, which are the long options.
fn known_keys() -> Vec<String> {
    Names::command().get_arguments().filter_map(|argument| argument.get_long()).map(str::to_owned).collect()
}

impl Settings {
    /// Reads a machine file. Paths in it are relative to the folder it lies in.
    pub fn read(file: &Path) -> Result<Settings> {
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let mut settings = Settings::from_toml(&text).with_context(|| file.display().to_string())?;
        settings.resolve_paths(file.parent().unwrap_or(Path::new("")));
        Ok(settings)
    }

    fn from_toml(text: &str) -> Result<Settings> {
        let table: toml::Table = toml::from_str(text).map_err(|error| in_one_line(text, &error))?;
        let known = known_keys();
        if let Some(key) = table.keys().find(|key| !known.contains(key)) {
            let near = nearest(key, &known).map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
            bail!("there is no key `{key}`{near}; the keys are {}", known.join(", "));
        }
        toml::from_str(text).map_err(|error| in_one_line(text, &error))
    }

    fn resolve_paths(&mut self, folder: &Path) {
        let files = self.kernel.iter_mut().chain(&mut self.initrd).chain(&mut self.restore).chain(&mut self.disk);
        let files = files.chain(self.module.iter_mut().map(|module| &mut module.file));
        let files = files.chain(self.save_at.iter_mut().map(|save| &mut save.file));
        let serial = match &mut self.serial {
            Some(Serial::File(path)) => Some(path),
            _ => None,
        };
        for path in files.chain(serial) {
            *path = folder.join(&*path);
        }
    }

    /// These settings, with `lower`'s where these say nothing. A list replaces a list.
    pub fn over(self, lower: Settings) -> Settings {
        fn list<T>(upper: Vec<T>, lower: Vec<T>) -> Vec<T> {
            if upper.is_empty() { lower } else { upper }
        }
        Settings {
            kernel: self.kernel.or(lower.kernel),
            initrd: self.initrd.or(lower.initrd),
            append: self.append.or(lower.append),
            module: list(self.module, lower.module),
            disk: list(self.disk, lower.disk),
            memory: self.memory.or(lower.memory),
            cpus: self.cpus.or(lower.cpus),
            serial: self.serial.or(lower.serial),
            max_instructions: self.max_instructions.or(lower.max_instructions),
            seed: self.seed.or(lower.seed),
            stats: self.stats || lower.stats,
            state_hash_at: list(self.state_hash_at, lower.state_hash_at),
            save_at: list(self.save_at, lower.save_at),
            restore: self.restore.or(lower.restore),
            quantum: self.quantum.or(lower.quantum),
        }
    }

    /// Refuses what cannot be meant, before anything is built.
    pub fn check(&self) -> Result<()> {
        if self.restore.is_some() {
            let fixed = [
                ("kernel", self.kernel.is_some()),
                ("initrd", self.initrd.is_some()),
                ("append", self.append.is_some()),
                ("module", !self.module.is_empty()),
                ("memory", self.memory.is_some()),
                ("cpus", self.cpus.is_some()),
                ("seed", self.seed.is_some()),
                ("quantum", self.quantum.is_some()),
            ];
            if let Some((name, _)) = fixed.iter().find(|(_, given)| *given) {
                bail!("--{name} goes not with --restore: the snapshot holds it");
            }
        } else if self.kernel.is_none() {
            bail!("there is nothing to run: give --kernel FILE, a machine file with a kernel, or --restore FILE");
        }
        Ok(())
    }
}

/// An error in a machine file, with the number of its line.
fn in_one_line(text: &str, error: &toml::de::Error) -> anyhow::Error {
    let message = error.message().replace('\n', " ");
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => anyhow::anyhow!("line {}: {message}", before.matches('\n').count() + 1),
        None => anyhow::anyhow!(message),
    }
}

/// The word of `known` that is nearest to `word`, if one is near.
fn nearest<'a>(word: &str, known: &'a [String]) -> Option<&'a String> {
    let scored = known.iter().map(|candidate| (distance(word, candidate), candidate));
    scored.min().filter(|(far, candidate)| *far <= 1 + candidate.len() / 3).map(|(_, candidate)| candidate)
}

/// Levenshtein's distance: the fewest letters inserted, dropped or replaced that turn one word into the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(a != *b)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = r#"
        kernel = "k"
        initrd = "/i"
        append = "console=ttyS0"
        module = ["m,a b,c", "n"]
        disk = ["d"]
        memory = "2G"
        cpus = 2
        serial = "file:out"
        max-instructions = 1000
        seed = 7
        stats = true
        state-hash-at = ["1K", 20]
        save-at = ["5M:s.snap"]
        restore = "r"
        quantum = 10
    "#;

    #[test]
    fn file_all_keys_are_read() {
        let settings = Settings::from_toml(ALL).unwrap();
        assert_eq!(settings.module[0], Module { file: "m".into(), arguments: "a b,c".into() });
        assert_eq!(settings.module[1], Module { file: "n".into(), arguments: String::new() });
        assert_eq!(settings.memory, Some(Size(2 << 30)));
        assert_eq!(settings.serial, Some(Serial::File("out".into())));
        assert_eq!(settings.state_hash_at, [Count(1000), Count(20)]);
        assert_eq!(settings.save_at, [SaveAt { count: Count(5_000_000), file: "s.snap".into() }]);
        // Every key there is stands in the text above.
        for key in known_keys() {
            assert!(ALL.contains(&format!("{key} = ")), "{key}");
        }
    }

    #[test]
    fn file_unknown_key_names_the_nearest_and_all() {
        let error = Settings::from_toml("kernal = \"x\"").unwrap_err().to_string();
        assert!(error.contains("`kernal` (did you mean `kernel`?)"), "{error}");
        assert!(error.contains("max-instructions"), "{error}");
        let error = Settings::from_toml("zzzzzzzz = 1").unwrap_err().to_string();
        assert!(!error.contains("did you mean"), "{error}");
        let error = Settings::from_toml("max_instructions = 1").unwrap_err().to_string();
        assert!(error.contains("did you mean `max-instructions`"), "{error}");
    }

    #[test]
    fn file_wrong_value_is_refused_with_its_place() {
        for text in
            ["memory = \"2X\"", "cpus = 0", "memory = -1", "serial = \"tty\"", "save-at = [\"5\"]", "module = \"m\""]
        {
            let error = format!("{:#}", Settings::from_toml(text).unwrap_err());
            assert!(error.contains("line 1"), "{text}: {error}");
        }
    }

    #[test]
    fn file_paths_are_relative_to_its_folder() {
        let mut settings = Settings::from_toml(ALL).unwrap();
        settings.resolve_paths(Path::new("folder"));
        assert_eq!(settings.kernel, Some("folder/k".into()));
        assert_eq!(settings.initrd, Some("/i".into()));
        assert_eq!(settings.module[0].file, Path::new("folder/m"));
        assert_eq!(settings.disk, [Path::new("folder/d")]);
        assert_eq!(settings.serial, Some(Serial::File("folder/out".into())));
        assert_eq!(settings.save_at[0].file, Path::new("folder/s.snap"));
    }

    #[test]
    fn command_line_overrides_the_file() {
        let file = Settings::from_toml(ALL).unwrap();
        let line = Settings { memory: Some(Size(1)), disk: vec!["e".into(), "f".into()], ..Settings::default() };
        let merged = line.over(file.clone());
        assert_eq!(merged.memory, Some(Size(1)));
        assert_eq!(merged.disk, [Path::new("e"), Path::new("f")]);
        let expected = Settings { memory: Some(Size(1)), disk: vec!["e".into(), "f".into()], ..file.clone() };
        assert_eq!(merged, expected);
        assert_eq!(Settings::default().over(file.clone()), file);
    }

    #[test]
    fn settings_without_kernel_or_with_kernel_and_snapshot_are_refused() {
        assert!(Settings::default().check().unwrap_err().to_string().contains("--kernel"));
        let kernel = Settings { kernel: Some("k".into()), ..Settings::default() };
        kernel.check().unwrap();
        let both = Settings { restore: Some("r".into()), ..kernel };
        assert!(both.check().unwrap_err().to_string().contains("--kernel goes not with --restore"));
        let disk = Settings { restore: Some("r".into()), disk: vec!["d".into()], ..Settings::default() };
        disk.check().unwrap();
    }

    #[test]
    fn distance_counts_edits() {
        for (from, to, edits) in [("", "abc", 3), ("kernal", "kernel", 1), ("abc", "abc", 0), ("disc", "disks", 2)] {
            assert_eq!(distance(from, to), edits, "{from} {to}");
        }
    }
}

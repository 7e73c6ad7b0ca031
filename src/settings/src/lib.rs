//! What servers are told: settings from options, the environment and a file; and how they log.
//!
//! A setting is an option of the command, and its definition there is the only one: a settings file has the same names, and
//! [`example`] prints them from it. Options come before the environment (`SEALDEX_` and the name in capitals, `_` for `-`),
//! the environment before the file.

pub mod log;

use std::{
    collections::HashSet,
    env,
    ffi::OsString,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, Command};
use toml::{Spanned, de::DeTable, de::DeValue};

/// Option that names the file.
const CONFIG: &str = "config";
/// Key of a file that says for which server it is.
const SERVER: &str = "server";

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{path}: {reason}")]
    Read {
        /// File.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No TOML.
    #[error("{path}: {reason}")]
    Syntax {
        /// File.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// A key that is no setting.
    #[error("{path}, line {line}: \"{key}\" is no setting of this server{}; `sealdex config --example {server}` lists all",
        near.as_ref().map(|n| format!(" (\"{n}\"?)")).unwrap_or_default())]
    Unknown {
        /// File.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// Key.
        key: String,
        /// The server.
        server: String,
        /// One that is spelled almost like it.
        near: Option<String>,
    },
    /// A value of another kind.
    #[error("{path}, line {line}: \"{key}\" must be {expected}")]
    Kind {
        /// File, or variable.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// Key.
        key: String,
        /// What it should be.
        expected: &'static str,
    },
    /// For another server.
    #[error("{path} is for server \"{found}\", not \"{expected}\"")]
    OtherServer {
        /// File.
        path: PathBuf,
        /// It says.
        found: String,
        /// It should say.
        expected: String,
    },
    /// A variable that is neither true nor false.
    #[error("{0} must be true or false")]
    Variable(String),
}

/// Settings that a file may have: options with a long name, but for what is about the command line itself.
fn settings(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|a| {
        let about =
            matches!(a.get_action(), ArgAction::Help | ArgAction::HelpLong | ArgAction::HelpShort | ArgAction::Version);
        !about && a.get_long().is_some_and(|l| l != CONFIG && l != "help" && l != "version")
    })
}

fn name(setting: &Arg) -> &str {
    setting.get_long().unwrap_or_default()
}

fn is_flag(setting: &Arg) -> bool {
    matches!(setting.get_action(), ArgAction::SetTrue)
}

fn is_list(setting: &Arg) -> bool {
    matches!(setting.get_action(), ArgAction::Append)
}

/// Arguments, with those of the file that `--config` names and of the environment added where they are not given. `server`
/// is the command's name in files; `args` are the command's own.
///
/// # Errors
/// [`SettingsError`].
pub fn expand(command: &Command, server: &str, args: Vec<OsString>) -> Result<Vec<OsString>, SettingsError> {
    let (mut given, mut file) = (HashSet::new(), None);
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let Some(long) = arg.to_str().and_then(|a| a.strip_prefix("--")) else { continue };
        if long.is_empty() {
            break;
        }
        let (long, value) = long.split_once('=').map_or((long, None), |(l, v)| (l, Some(OsString::from(v))));
        if long == CONFIG {
            file = value.or_else(|| rest.next().cloned());
        }
        given.insert(long.to_owned());
    }
    // What clap refuses together is decided by who comes first, not by where it stands.
    let beaten = |setting: &Arg, by: &HashSet<String>| excluded(command, setting).any(|other| by.contains(other));
    let mut added = Vec::new();
    let mut set = given.clone();
    for setting in settings(command).filter(|s| !given.contains(name(s)) && !beaten(s, &given)) {
        if let Some(value) = env::var_os(variable(name(setting))) {
            let values = from_environment(setting, value)?;
            if !values.is_empty() {
                set.insert(name(setting).to_owned());
            }
            added.extend(values);
        }
    }
    let by_environment = |name: &str| {
        let passphrase = name == "passphrase-file" && env::var_os("SEALDEX_PASSPHRASE").is_some();
        passphrase || env::var_os(variable(name)).is_some()
    };
    if let Some(path) = file {
        for (setting, values) in read(command, server, Path::new(&path))? {
            let long = name(setting);
            if !given.contains(long) && !by_environment(long) && !beaten(setting, &set) {
                added.extend(values);
            }
        }
    }
    // Before what is given: a positional argument, or what follows `--`, stays last.
    Ok(added.into_iter().chain(args).collect())
}

/// Settings that cannot be given together with one.
fn excluded<'c>(command: &'c Command, setting: &'c Arg) -> impl Iterator<Item = &'c str> {
    let apart = command.get_groups().filter(|g| !(*g).clone().is_multiple());
    let of_groups = apart.filter(|g| g.get_args().any(|id| id == setting.get_id())).flat_map(|g| g.get_args());
    let others = of_groups.filter(|id| *id != setting.get_id());
    let by_group = others.filter_map(|id| command.get_arguments().find(|a| a.get_id() == id));
    command.get_arg_conflicts_with(setting).into_iter().chain(by_group).map(name)
}

/// The variable that sets a setting.
fn variable(name: &str) -> String {
    format!("SEALDEX_{}", name.to_uppercase().replace('-', "_"))
}

fn option(setting: &Arg, value: impl Into<OsString>) -> OsString {
    let mut out = OsString::from(format!("--{}=", name(setting)));
    out.push(value.into());
    out
}

fn from_environment(setting: &Arg, value: OsString) -> Result<Vec<OsString>, SettingsError> {
    if !is_flag(setting) {
        return Ok(vec![option(setting, value)]);
    }
    match value.to_str() {
        Some("true" | "1") => Ok(vec![format!("--{}", name(setting)).into()]),
        Some("false" | "0" | "") => Ok(Vec::new()),
        _ => Err(SettingsError::Variable(variable(name(setting)))),
    }
}

/// The settings of a file, each as arguments.
fn read<'c>(command: &'c Command, server: &str, path: &Path) -> Result<Vec<(&'c Arg, Vec<OsString>)>, SettingsError> {
    let text = load(path)?;
    let table = DeTable::parse(&text).map_err(|e| syntax(path, &e))?;
    let mut out = Vec::new();
    // First, since another server's settings are unknown here.
    if let Some(found) = said_server(table.get_ref()).filter(|found| found != server) {
        return Err(SettingsError::OtherServer { path: path.into(), found, expected: server.into() });
    }
    for (key, value) in table.get_ref() {
        let line = line(&text, key.span().start);
        let key = key.get_ref().replace('_', "-");
        if key == SERVER {
            continue;
        }
        let Some(setting) = settings(command).find(|s| name(s) == key) else {
            let near = settings(command).map(name).min_by_key(|n| distance(n, &key)).map(str::to_owned);
            let near = near.filter(|n| distance(n, &key) <= 2);
            return Err(SettingsError::Unknown { path: path.into(), line, key, server: server.into(), near });
        };
        let values = values(setting, value).map_err(|expected| SettingsError::Kind {
            path: path.into(),
            line,
            key,
            expected,
        })?;
        out.push((setting, values));
    }
    Ok(out)
}

fn load(path: &Path) -> Result<String, SettingsError> {
    fs::read_to_string(path).map_err(|e| SettingsError::Read { path: path.into(), reason: e.to_string() })
}

fn syntax(path: &Path, e: &toml::de::Error) -> SettingsError {
    SettingsError::Syntax { path: path.into(), reason: e.to_string() }
}

fn line(text: &str, at: usize) -> usize {
    text.get(..at).map_or(1, |before| before.matches('\n').count() + 1)
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        _ => None,
    }
}

fn values(setting: &Arg, value: &Spanned<DeValue<'_>>) -> Result<Vec<OsString>, &'static str> {
    match value.get_ref() {
        DeValue::Boolean(true) if is_flag(setting) => Ok(vec![format!("--{}", name(setting)).into()]),
        DeValue::Boolean(false) if is_flag(setting) => Ok(Vec::new()),
        _ if is_flag(setting) => Err("true or false"),
        DeValue::Array(items) if is_list(setting) => {
            let text =
                |item: &Spanned<DeValue<'_>>| Ok(option(setting, scalar(item.get_ref()).ok_or("a list of texts")?));
            items.iter().map(text).collect()
        }
        _ if is_list(setting) => Err("a list of texts"),
        single => Ok(vec![option(setting, scalar(single).ok_or("a text or a number")?)]),
    }
}

/// Letters to change, add or leave out.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut left = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let best = (left + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            left = std::mem::replace(&mut row[j + 1], best);
        }
    }
    row[b.len()]
}

/// Which server a file says it is for.
///
/// # Errors
/// [`SettingsError`].
pub fn server_of(path: &Path) -> Result<Option<String>, SettingsError> {
    let text = load(path)?;
    let table = DeTable::parse(&text).map_err(|e| syntax(path, &e))?;
    Ok(said_server(table.get_ref()))
}

fn said_server(table: &DeTable<'_>) -> Option<String> {
    let (_, value) = table.iter().find(|(k, _)| k.get_ref() == SERVER)?;
    Some(value.get_ref().as_str().unwrap_or_default().to_owned())
}

/// A file with every setting of a command, its default and what it is for.
pub fn example(command: &Command, server: &str) -> String {
    let mut out = format!(
        "# Every setting of `sealdex serve {server}`. Options of the command line come before the environment\n\
         # (SEALDEX_ and the name in capitals, with _ for -), the environment before this file.\n\
         {SERVER} = \"{server}\"\n"
    );
    for setting in settings(command) {
        let help = setting.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(out);
        for line in wrapped(&help, 110) {
            let _ = writeln!(out, "# {line}");
        }
        let values: Vec<String> = setting.get_possible_values().iter().map(|v| v.get_name().to_owned()).collect();
        if !values.is_empty() && !is_flag(setting) {
            let _ = writeln!(out, "# One of: {}.", values.join(", "));
        }
        let default = setting.get_default_values().first().and_then(|v| v.to_str());
        let value = match default {
            _ if is_flag(setting) => "false".to_owned(),
            _ if is_list(setting) => "[]".to_owned(),
            Some(number) if number.parse::<u64>().is_ok() => number.to_owned(),
            Some(text) => format!("{text:?}"),
            None => {
                let what = setting.get_value_names().and_then(|n| n.first()).map_or("VALUE", |n| n.as_str());
                format!("\"{what}\"")
            }
        };
        let must = setting.is_required_set();
        let note = match (must, default.is_some() || is_flag(setting) || is_list(setting)) {
            (true, _) => "  # must be given",
            (_, true) => "  # default",
            _ => "  # none",
        };
        let _ = writeln!(out, "{}{} = {value}{note}", if must { "" } else { "#" }, name(setting));
    }
    out
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Names of all settings of a command.
pub fn names(command: &Command) -> Vec<String> {
    settings(command).map(|s| name(s).to_owned()).collect()
}

/// The arguments that a file comes to by itself, without command line and environment: for checking it.
///
/// # Errors
/// [`SettingsError`].
pub fn of_file(command: &Command, server: &str, path: &Path) -> Result<Vec<OsString>, SettingsError> {
    Ok(read(command, server, path)?.into_iter().flat_map(|(_, values)| values).collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser, Debug)]
    struct Options {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:1")]
        listen: String,
        /// Where data are.
        #[arg(long)]
        dir: PathBuf,
        /// How many.
        #[arg(long, default_value_t = 7)]
        most: u32,
        /// Whether to.
        #[arg(long)]
        plain: bool,
        /// All of them.
        #[arg(long)]
        also: Vec<String>,
        #[arg(long)]
        config: Option<PathBuf>,
    }

    fn with(text: &str, args: &[&str]) -> Result<Options, String> {
        use clap::CommandFactory as _;
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let path = file.path().to_str().unwrap();
        let args: Vec<OsString> = ["--config", path].iter().chain(args).map(OsString::from).collect();
        let all = expand(&Options::command(), "test", args).map_err(|e| e.to_string().replace(path, "F"))?;
        Options::try_parse_from(std::iter::once("test".into()).chain(all)).map_err(|e| e.to_string())
    }

    #[test]
    fn a_file_sets_what_the_command_line_does_not() {
        let text = "server = 'test'\ndir = '/d'\nmost = 9\nplain = true\nalso = ['a', 'b c']\nlisten = \"x:1\"\n";
        let o = with(text, &[]).unwrap();
        assert_eq!((o.most, o.plain, o.listen.as_str()), (9, true, "x:1"));
        assert_eq!((o.dir, o.also), (PathBuf::from("/d"), vec!["a".to_owned(), "b c".to_owned()]));
        let o = with(text, &["--most=3", "--listen", "y:2"]).unwrap();
        assert_eq!((o.most, o.listen.as_str(), o.plain), (3, "y:2", true));
        assert_eq!(with("dir = '/d'\nplain = false\n", &[]).map(|o| (o.plain, o.most)), Ok((false, 7)));
    }

    #[test]
    fn what_is_wrong_in_a_file_is_named_with_its_line() {
        let unknown = with("dir = '/d'\n\nmots = 3\n", &[]).unwrap_err();
        assert!(unknown.starts_with("F, line 3: \"mots\" is no setting of this server (\"most\"?)"), "{unknown}");
        assert!(
            with("dir = '/d'\nplain = 'yes'\n", &[]).unwrap_err().contains("line 2: \"plain\" must be true or false")
        );
        assert!(with("dir = ['/d']\n", &[]).unwrap_err().contains("line 1: \"dir\" must be a text or a number"));
        assert!(with("also = 'a'\n", &[]).unwrap_err().contains("must be a list of texts"));
        assert!(with("server = 'gate'\n", &[]).unwrap_err().contains("for server \"gate\", not \"test\""));
        assert!(with("dir = \n", &[]).unwrap_err().contains("line 1"));
        assert!(with("config = 'x'\n", &[]).unwrap_err().contains("no setting"), "a file names no other");
        assert!(with("dir = '/d'\nmost = -1\n", &[]).unwrap_err().contains("--most"), "clap checks values");
    }

    #[test]
    fn an_example_has_every_setting_and_is_in_order() {
        use clap::CommandFactory as _;
        let command = Options::command();
        let text = example(&command, "test");
        for name in names(&command) {
            assert!(text.contains(&format!("{name} = ")), "{name}");
        }
        assert_eq!(names(&command).len(), 5);
        let o = with(&text.replace("\"VALUE\"", "\"/d\"").replace("\n#", "\n"), &[]);
        // With every comment sign gone the explanations are no TOML; with those of settings gone, it is.
        assert!(o.is_err());
        let uncommented =
            text.replace("\n#listen", "\nlisten").replace("\n#most", "\nmost").replace("\n#plain", "\nplain");
        assert_eq!(with(&uncommented, &[]).map(|o| o.most), Ok(7));
    }
}

//! `sealdex config`: files of settings for servers. And the arguments of this program, with such a file's added.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory as _, ValueEnum};
use sealdex_settings::{SettingsError, example, expand, of_file, server_of};

use crate::{Options, failure::Failure};

#[derive(Args)]
#[command(after_help = "Examples:
  sealdex config --example cloud > cloud.toml
  sealdex config --check cloud.toml
  sealdex serve cloud --config cloud.toml --listen 127.0.0.1:0")]
#[group(required = true, multiple = false)]
pub(crate) struct ConfigOptions {
    /// Print a file with every setting of a server: its default, and what it is for.
    #[arg(long, value_enum, value_name = "SERVER")]
    example: Option<Server>,
    /// Check a file: every key, and every value. Files that it names are not looked for.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Server {
    Cloud,
    Gate,
    Gateway,
}

impl Server {
    fn name(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::Gate => "gate",
            Self::Gateway => "gateway",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Cloud, Self::Gate, Self::Gateway].into_iter().find(|s| s.name() == name)
    }

    /// The definitions of its options.
    fn command(self) -> clap::Command {
        let serve = Options::command().find_subcommand("serve").cloned().unwrap_or_default();
        serve.find_subcommand(self.name()).cloned().unwrap_or_default()
    }
}

/// This program's arguments; those of `serve` with what `--config` and the environment add.
pub(crate) fn arguments() -> Result<Vec<OsString>, SettingsError> {
    let all: Vec<OsString> = std::env::args_os().collect();
    let server = match all.get(1..3) {
        Some([serve, server]) if serve == "serve" => server.to_str().and_then(Server::of),
        _ => None,
    };
    let Some(server) = server else { return Ok(all) };
    let expanded = expand(&server.command(), server.name(), all[3..].to_vec())?;
    Ok(all[..3].iter().cloned().chain(expanded).collect())
}

pub(crate) fn run(o: &ConfigOptions) -> Result<ExitCode, Failure> {
    if let Some(server) = o.example {
        print!("{}", example(&server.command(), server.name()));
    }
    if let Some(path) = &o.check {
        let named = server_of(path)?;
        let server = named.as_deref().and_then(Server::of).ok_or_else(|| {
            Failure::new(format!("{}: say first of all server = \"cloud\", \"gate\" or \"gateway\"", path.display()))
        })?;
        let command = server.command();
        let args = of_file(&command, server.name(), path)?;
        let words = ["sealdex", "serve", server.name()].into_iter().map(OsString::from);
        let checked = Options::command().try_get_matches_from(words.chain(args));
        // Styled for terminals; here it is a message among others.
        checked.map_err(|e| Failure::new(format!("{}: {}", path.display(), e.render())))?;
        println!("{}: settings of a {}, in order.", path.display(), server.name());
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An example can be used as it is, and has what the command has.
    #[test]
    fn examples_have_every_option_and_are_in_order() {
        for server in [Server::Cloud, Server::Gate, Server::Gateway] {
            let command = server.command();
            let text = example(&command, server.name());
            let options: Vec<&str> = command.get_arguments().filter_map(|a| a.get_long()).collect();
            assert!(options.len() > 8, "{options:?}");
            for option in options.iter().filter(|o| !["config", "help", "version"].contains(*o)) {
                let lines = text.lines().filter(|l| l.trim_start_matches('#').starts_with(&format!("{option} = ")));
                assert_eq!(lines.count(), 1, "{option} of {}", server.name());
            }
            let explained =
                text.lines().zip(text.lines().skip(1)).filter(|(_, l)| l.contains(" = \"") || l.contains(" = f"));
            for (before, setting) in explained.filter(|(_, l)| !l.starts_with("server")) {
                assert!(before.starts_with("# ") && before.len() > 6, "{setting} has no explanation");
            }
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &text).unwrap();
            assert_eq!(server_of(file.path()).unwrap().as_deref(), Some(server.name()));
            of_file(&command, server.name(), file.path()).unwrap();
        }
    }
}

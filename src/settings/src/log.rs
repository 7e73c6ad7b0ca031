//! How a server logs.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// Options that every server has.
#[derive(Args, Clone, Debug, Default)]
pub struct ServerOptions {
    /// File of settings, TOML: options by their names. `sealdex config` prints and checks such files.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How log lines are written, to standard error. What is logged, RUST_LOG says: `info`, or `info,sealdex_net=debug` for a
    /// line for each request with its trace id.
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// File to append what was done for requests to, and how long it took: a JSON object a line, with trace ids.
    #[arg(long, value_name = "FILE")]
    pub trace_file: Option<PathBuf>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

impl ServerOptions {
    /// Starts logging; `default` is what is logged unless RUST_LOG says otherwise.
    ///
    /// # Errors
    /// The trace file cannot be opened.
    pub fn start(&self, default: &str) -> Result<(), String> {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| default.into());
        // A log that cannot be written, on a full disk, is no reason to fail: telling so on the same stream would panic.
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        let log = log.log_internal_errors(false);
        match self.log_format {
            LogFormat::Text => log.init(),
            LogFormat::Json => log.json().flatten_event(true).with_span_list(false).init(),
        }
        match &self.trace_file {
            Some(path) => sealdex_net::trace::to_file(path).map_err(|e| format!("trace file {}: {e}", path.display())),
            None => Ok(()),
        }
    }
}

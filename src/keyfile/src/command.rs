//! Unlock commands: a program that wraps and unwraps a 32-byte key, as a KMS or a PKCS#11 token does.
//!
//! | called with | stdin | stdout | exit status |
//! |---|---|---|---|
//! | its arguments, then `wrap` | 32 bytes, raw | what it makes of them: 1 byte to 64 KiB | 0 |
//! | its arguments, then `unwrap` | what `wrap` returned | the 32 bytes, raw | 0 |
//!
//! No shell is involved: words are split at blanks, and quoted by `'…'` or `"…"`. A call ends within
//! 30 seconds or is killed. What the command says on stderr is shown up to its first line, and never when
//! that holds the key.

use std::{
    io::{Read, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

/// Most bytes of a wrapped key.
pub const MAX_WRAPPED: usize = 64 << 10;
/// Longest a call may take.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// Most of stderr that is looked at.
const MAX_SAID: u64 = 4096;
/// Most of its first line that is shown.
const MAX_SHOWN: usize = 200;

/// What a command was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Wrap a key.
    Wrap,
    /// Unwrap it.
    Unwrap,
}

impl Operation {
    fn word(self) -> &'static str {
        match self {
            Self::Wrap => "wrap",
            Self::Unwrap => "unwrap",
        }
    }
}

/// Why a command was of no use. Never shows its arguments: they may hold a PIN.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the unlock command {program:?}{} {problem}", operation.map(|o| format!(" ({})", o.word())).unwrap_or_default())]
pub struct CommandError {
    /// The program.
    pub program: String,
    /// What it was asked to do.
    pub operation: Option<Operation>,
    /// What went wrong.
    pub problem: CommandProblem,
}

/// What went wrong with a command.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CommandProblem {
    /// No program, or a quote without end.
    #[error("does not parse: give a program and its arguments, with quotes in pairs")]
    Syntax,
    /// It did not start.
    #[error("cannot be started: {0}")]
    Start(String),
    /// It ended badly.
    #[error("failed ({status}){said}")]
    Failed {
        /// Exit status or signal.
        status: String,
        /// First line of what it said.
        said: String,
    },
    /// It took too long.
    #[error("did not finish within {0} seconds, and was killed")]
    Timeout(u64),
    /// It returned too much, too little or nothing.
    #[error("returned {found} where {expected} were expected")]
    Length {
        /// What it returned.
        found: String,
        /// What it should have.
        expected: String,
    },
    /// It wrapped nothing.
    #[error("returned the key itself, not wrapped: it protects nothing")]
    NotWrapped,
    /// It unwraps to something else.
    #[error("does not return the key it wrapped")]
    Mismatch,
}

/// A program with its arguments.
#[derive(Clone)]
pub struct UnlockCommand {
    program: String,
    arguments: Vec<String>,
    timeout: Duration,
}

impl UnlockCommand {
    /// From one line: a program and its arguments.
    ///
    /// # Errors
    /// [`CommandProblem::Syntax`].
    pub fn parse(line: &str) -> Result<Self, CommandError> {
        let wrong = || CommandError { program: String::new(), operation: None, problem: CommandProblem::Syntax };
        let mut words = split(line).ok_or_else(wrong)?.into_iter();
        let program = words.next().filter(|p| !p.is_empty()).ok_or_else(wrong)?;
        Ok(Self { program, arguments: words.collect(), timeout: TIMEOUT })
    }

    /// With another time limit than [`TIMEOUT`].
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Has a key wrapped, and sees that it comes back.
    pub(crate) fn wrap(&self, key: &Zeroizing<[u8; 32]>) -> Result<Vec<u8>, CommandError> {
        let operation = Operation::Wrap;
        let wrapped = self.run(operation, &**key, MAX_WRAPPED, Some(&**key))?;
        if wrapped.is_empty() || wrapped.len() > MAX_WRAPPED {
            return Err(self.length(operation, wrapped.len(), MAX_WRAPPED, "1 to 65536 bytes"));
        }
        if wrapped.windows(32).any(|w| w == &key[..]) {
            return Err(self.error(operation, CommandProblem::NotWrapped));
        }
        if *self.unwrap(&wrapped)? != **key {
            return Err(self.error(Operation::Unwrap, CommandProblem::Mismatch));
        }
        Ok(wrapped.to_vec())
    }

    /// Has a key unwrapped.
    pub(crate) fn unwrap(&self, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, CommandError> {
        let operation = Operation::Unwrap;
        let bytes = self.run(operation, wrapped, 32, None)?;
        let mut key = Zeroizing::new([0; 32]);
        if bytes.len() != key.len() {
            return Err(self.length(operation, bytes.len(), 32, "the 32 bytes of a key"));
        }
        key.copy_from_slice(&bytes);
        Ok(key)
    }

    fn error(&self, operation: Operation, problem: CommandProblem) -> CommandError {
        CommandError { program: self.program.clone(), operation: Some(operation), problem }
    }

    fn length(&self, operation: Operation, found: usize, most: usize, expected: &str) -> CommandError {
        let found = match found {
            0 => "nothing".to_owned(),
            n if n > most => format!("more than {most} bytes"),
            n => format!("{n} bytes"),
        };
        self.error(operation, CommandProblem::Length { found, expected: expected.to_owned() })
    }

    /// Runs it; at most `limit + 1` bytes of what it returned.
    fn run(
        &self,
        operation: Operation,
        input: &[u8],
        limit: usize,
        secret: Option<&[u8]>,
    ) -> Result<Zeroizing<Vec<u8>>, CommandError> {
        let deadline = Instant::now() + self.timeout;
        let start = |e: std::io::Error| self.error(operation, CommandProblem::Start(e.to_string()));
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .arg(operation.word())
            .env_remove("SEALDEX_PASSPHRASE") // none of its business
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(start)?;
        let (returned, said) = streams(&mut child, input, limit);
        let output = returned.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        // One that goes on writing is stopped.
        let status = match &output {
            Ok(bytes) if bytes.len() <= limit => wait(&mut child, deadline),
            _ => None,
        };
        if status.is_none() {
            // It may have ended by itself this moment.
            let _ = child.kill();
            let _ = child.wait();
        }
        match (output, status) {
            (Ok(bytes), Some(status)) if status.success() => Ok(bytes),
            (Ok(bytes), None) if bytes.len() > limit => Ok(bytes),
            (_, Some(status)) => {
                let said = said.recv_timeout(Duration::from_millis(500)).unwrap_or_default();
                let said = harmless(&said, secret).map(|line| format!(" and said: {line}")).unwrap_or_default();
                Err(self.error(operation, CommandProblem::Failed { status: status.to_string(), said }))
            }
            (_, None) => Err(self.error(operation, CommandProblem::Timeout(self.timeout.as_secs()))),
        }
    }
}

type Returned = mpsc::Receiver<Zeroizing<Vec<u8>>>;

/// Feeds and drains a child. Threads that a grandchild keeps waiting end with it.
fn streams(child: &mut Child, input: &[u8], limit: usize) -> (Returned, mpsc::Receiver<Vec<u8>>) {
    if let Some(mut stdin) = child.stdin.take() {
        let input = Zeroizing::new(input.to_vec());
        // One that does not read its input says so by its exit status.
        thread::spawn(move || drop(stdin.write_all(&input)));
    }
    let (to_returned, returned) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            // Never grows, so no copy of it stays behind.
            let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
            let mut chunk = Zeroizing::new([0; 4096]);
            let mut stdout = stdout.take(limit as u64 + 1);
            while let Ok(n @ 1..) = stdout.read(&mut chunk[..]) {
                bytes.extend_from_slice(&chunk[..n]);
            }
            let _ = to_returned.send(bytes);
        });
    }
    let (to_said, said) = mpsc::channel();
    if let Some(mut stderr) = child.stderr.take() {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let mut chunk = [0; 512];
            while let Ok(n @ 1..) = stderr.read(&mut chunk) {
                bytes.extend_from_slice(&chunk[..n]);
                if chunk[..n].contains(&b'\n') || bytes.len() as u64 >= MAX_SAID {
                    break;
                }
            }
            let _ = to_said.send(bytes);
            let _ = std::io::copy(&mut stderr, &mut std::io::sink());
        });
    }
    (returned, said)
}

fn wait(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// The first line of what a command said, unless the secret is in it.
fn harmless(said: &[u8], secret: Option<&[u8]>) -> Option<String> {
    let line = said.split(|b| *b == b'\n').next()?;
    let line: String = String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).collect();
    let line = line.trim();
    let leaks = secret.is_some_and(|s| {
        let small = line.to_ascii_lowercase();
        said.windows(s.len()).any(|w| w == s)
            || small.contains(&*Zeroizing::new(hex::encode(s)))
            || line.contains(Zeroizing::new(STANDARD.encode(s)).trim_end_matches('='))
    });
    if leaks {
        return Some("(its first line held the key, and is not shown)".to_owned());
    }
    (!line.is_empty()).then(|| line.chars().take(MAX_SHOWN).collect())
}

/// Words of a line: split at blanks, quoted by `'…'` or `"…"`; `None` for a quote without end.
fn split(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match quote {
            Some(q) if c == q => quote = None,
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_at_blanks_outside_quotes() {
        let words = |line| split(line).map(|w| w.join("|"));
        assert_eq!(words(" a  b 'c d' \"e 'f'\"g '' ").as_deref(), Some("a|b|c d|e 'f'g|"));
        assert_eq!(words("a 'b").as_deref(), None);
        assert_eq!(words("").as_deref(), Some(""));
    }

    #[test]
    fn what_a_command_says_is_cut_and_never_holds_the_key() {
        let key = [0xab_u8; 32];
        let shown = |said: &str| harmless(said.as_bytes(), Some(&key));
        assert_eq!(shown("token not present\nsecond").as_deref(), Some("token not present"));
        assert_eq!(shown(&"x".repeat(1000)).map(|s| s.len()), Some(MAX_SHOWN));
        assert_eq!(shown("\u{1b}[31mred").as_deref(), Some("[31mred"));
        assert_eq!(shown("\n").as_deref(), None);
        for leak in [hex::encode(key), hex::encode_upper(key), STANDARD.encode(key)] {
            assert!(!shown(&format!("debug: {leak}")).unwrap_or_default().contains(&leak));
        }
    }
}

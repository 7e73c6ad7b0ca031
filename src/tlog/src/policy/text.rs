//! Policies as text files (C2SP tlog-policy), with one log each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::quorum::Rule;
use super::{Policy, PolicyError, Witness};
use crate::checkpoint::parse_decimal;
use crate::note::{NoteError, VerifierKey};

/// Bytes a policy's text may have.
pub const MAX_POLICY_BYTES: usize = 64 * 1024;

/// Why a text is no policy. Lines are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyTextError {
    /// More bytes than [`MAX_POLICY_BYTES`].
    #[error("the policy has {found} bytes, at most {MAX_POLICY_BYTES} are read")]
    TooLong {
        /// Bytes there are.
        found: usize,
    },
    /// A last line without its newline: something may be missing.
    #[error("the last line has no newline")]
    Unfinished,
    /// A control character that is neither a tab nor a newline.
    #[error("line {line} has a control character")]
    ControlCharacter {
        /// Which.
        line: usize,
    },
    /// A line of another form.
    #[error(
        "line {line} is none of: log KEY [URL]; witness NAME KEY [URL]; group NAME any|all|COUNT MEMBER…; quorum NAME"
    )]
    Line {
        /// Which.
        line: usize,
    },
    /// A key that cannot be read.
    #[error("line {line}: {error}")]
    Key {
        /// Which.
        line: usize,
        /// Why not.
        error: NoteError,
    },
    /// A name that is taken, or the reserved one.
    #[error("line {line}: the name is taken")]
    NameTaken {
        /// Which.
        line: usize,
    },
    /// A name that no line before defines, or that is in a group already.
    #[error("line {line}: {name} is not defined above, or in a group already")]
    Member {
        /// Which.
        line: usize,
        /// The name.
        name: String,
    },
    /// A group that needs none or more than all of its members.
    #[error("line {line}: a group needs 1 to all of its members")]
    Threshold {
        /// Which.
        line: usize,
    },
    /// None or several.
    #[error("a policy has one log line and one quorum line")]
    Once,
    /// Keys that cannot have their roles.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// What the lines so far have defined.
#[derive(Default)]
struct Lines {
    logs: Vec<(VerifierKey, Option<String>)>,
    witnesses: Vec<Witness>,
    /// Rules by name, those in a group without their rule.
    names: BTreeMap<String, Option<Rule>>,
    quorums: Vec<Option<Rule>>,
}

impl Policy {
    /// Reads a policy's text: one log, any number of witnesses, groups of them, and the quorum.
    ///
    /// # Errors
    /// [`PolicyTextError`] unless it follows tlog-policy and is UTF-8.
    pub fn parse(text: &str) -> Result<Self, PolicyTextError> {
        if text.len() > MAX_POLICY_BYTES {
            return Err(PolicyTextError::TooLong { found: text.len() });
        }
        let body = text.strip_suffix('\n').ok_or(PolicyTextError::Unfinished)?;
        let mut lines = Lines::default();
        for (i, line) in body.split('\n').enumerate() {
            lines.read(i + 1, line)?;
        }
        let (Ok([(log, url)]), Ok([quorum])) = (<[_; 1]>::try_from(lines.logs), <[_; 1]>::try_from(lines.quorums))
        else {
            return Err(PolicyTextError::Once);
        };
        Ok(Self::assemble(log, url, lines.witnesses, quorum)?)
    }
}

impl Lines {
    fn read(&mut self, line: usize, text: &str) -> Result<(), PolicyTextError> {
        if text.bytes().any(|b| (b < b' ' && b != b'\t') || b == 0x7f) {
            return Err(PolicyTextError::ControlCharacter { line });
        }
        let items: Vec<_> = text.split([' ', '\t']).filter(|item| !item.is_empty()).collect();
        let key = |text: &str| VerifierKey::parse(text).map_err(|error| PolicyTextError::Key { line, error });
        let url = |rest: &[&str]| match rest {
            [] => Ok(None),
            [url] => Ok(Some((*url).to_owned())),
            _ => Err(PolicyTextError::Line { line }),
        };
        match items.as_slice() {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            ["log", vkey, rest @ ..] => self.logs.push((key(vkey)?, url(rest)?)),
            ["witness", name, vkey, rest @ ..] => {
                self.define(line, name, Rule::Witness(self.witnesses.len()))?;
                self.witnesses.push(Witness { key: key(vkey)?, url: url(rest)? });
            }
            ["group", name, count, members @ ..] => {
                let threshold = match *count {
                    "any" => Some(1),
                    "all" => Some(members.len()),
                    count => parse_decimal(count).and_then(|n| n.try_into().ok()),
                };
                let threshold = threshold.filter(|n| (1..=members.len()).contains(n));
                let threshold = threshold.ok_or(PolicyTextError::Threshold { line })?;
                let members = members.iter().map(|name| self.take(line, name)).collect::<Result<_, _>>()?;
                self.define(line, name, Rule::Group { threshold, members })?;
            }
            ["quorum", "none"] => self.quorums.push(None),
            ["quorum", name] => {
                let rule = self.names.get(*name).cloned().flatten();
                self.quorums.push(Some(rule.ok_or_else(|| PolicyTextError::Member { line, name: (*name).into() })?));
            }
            _ => return Err(PolicyTextError::Line { line }),
        }
        Ok(())
    }

    fn define(&mut self, line: usize, name: &str, rule: Rule) -> Result<(), PolicyTextError> {
        if name == "none" || self.names.insert(name.into(), Some(rule)).is_some() {
            return Err(PolicyTextError::NameTaken { line });
        }
        Ok(())
    }

    /// A rule that becomes part of a group.
    fn take(&mut self, line: usize, name: &str) -> Result<Rule, PolicyTextError> {
        let rule = self.names.get_mut(name).and_then(Option::take);
        rule.ok_or_else(|| PolicyTextError::Member { line, name: name.into() })
    }
}

/// The policy's text. Witnesses are called by the names of their keys where these tell them
/// apart, and groups by numbers. The format has the log's origin be its key's name, so one given
/// with [`Policy::with_origin`] is not in it.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = |url: &Option<String>| url.as_ref().map_or_else(String::new, |url| format!(" {url}"));
        writeln!(f, "log {}{}", self.log, url(&self.log_url))?;
        let mut taken = BTreeSet::from(["none".to_owned()]);
        let mut names = Vec::new();
        for (i, witness) in self.witnesses.iter().enumerate() {
            let mut name = witness.key.name().to_string();
            while !taken.insert(name.clone()) {
                name = format!("{name}+{i}");
            }
            writeln!(f, "witness {name} {}{}", witness.key, url(&witness.url))?;
            names.push(name);
        }
        match &self.rule {
            None => writeln!(f, "quorum none"),
            Some(rule) => {
                let name = write_rule(f, rule, &names, &mut 0)?;
                writeln!(f, "quorum {name}")
            }
        }
    }
}

/// Writes the groups of a rule, inner ones first, and gives the name of the outermost. A `+` is
/// in no key's name.
fn write_rule(
    f: &mut fmt::Formatter<'_>,
    rule: &Rule,
    names: &[String],
    groups: &mut usize,
) -> Result<String, fmt::Error> {
    match rule {
        Rule::Witness(place) => names.get(*place).cloned().ok_or(fmt::Error),
        Rule::Group { threshold, members } => {
            let members = members.iter().map(|member| write_rule(f, member, names, groups));
            let members = members.collect::<Result<Vec<_>, _>>()?.join(" ");
            *groups += 1;
            let name = format!("group+{groups}");
            writeln!(f, "group {name} {threshold} {members}")?;
            Ok(name)
        }
    }
}

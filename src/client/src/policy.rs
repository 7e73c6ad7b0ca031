//! Standing policies: what an owner has decided once, applied to sections and epochs as they come up.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use sealdex_net::clock::now_ms;

use crate::owner::Newcomers;

/// "My GP may read everything but notes."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Name, unique with the owner.
    pub name: String,
    /// Who may read: a member's name, or `group@manager`.
    pub reader: String,
    /// Sections; all that the owner has when it is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<String>,
    /// Sections left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// Sensitivity labels it extends to, beside what bears none. A section named with its label needs none here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Purposes of use.
    pub purposes: Vec<String>,
    /// Only what these pushed, by name, or anyone below them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<String>,
    /// Days a grant made under it holds; applying the policy again renews it.
    pub days: u32,
    /// Whether it extends to what was written in earlier epochs.
    pub earlier: bool,
    /// Which members of a group it means.
    #[serde(default)]
    pub newcomers: NewcomersRule,
    /// People who may wake it, two of them, by name; then it is for emergencies only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wakers: Vec<String>,
    /// Longest an emergency lasts, minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes: Option<u32>,
    /// When it was made, Unix milliseconds.
    pub made_at: u64,
}

/// Which members of a group are meant, as people say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NewcomersRule {
    /// Everyone in it, whenever that is.
    #[default]
    All,
    /// Who joins sees what is written from the next epoch on.
    Later,
    /// Who joins sees nothing until the owner says so.
    Asked,
}

impl NewcomersRule {
    /// What a grant made now says.
    pub fn now(self) -> Newcomers {
        self.since(now_ms())
    }

    /// What a grant says of a policy made at a time, Unix milliseconds.
    pub fn since(self, made_at: u64) -> Newcomers {
        match self {
            Self::All => Newcomers::All,
            Self::Later => Newcomers::Later(None),
            Self::Asked => Newcomers::JoinedBy(made_at),
        }
    }
}

impl Policy {
    /// Which of an owner's sections it extends to.
    pub fn extends_to<'a>(&self, sections: impl Iterator<Item = &'a String>) -> Vec<String> {
        let (named, except): (BTreeSet<_>, BTreeSet<_>) =
            (self.sections.iter().collect(), self.except.iter().collect());
        let meant = |s: &&String| {
            let (section, label) = s.split_once('/').map_or((s.as_str(), None), |(s, l)| (s, Some(l.to_owned())));
            let section = section.to_owned();
            let labelled = label.is_none_or(|l| self.labels.contains(&l));
            let within = (named.is_empty() || named.contains(&section)) && labelled;
            (within || named.contains(s)) && !except.contains(s) && !except.contains(&section)
        };
        sections.filter(meant).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_notes() {
        let policy = Policy {
            name: "gp".into(),
            reader: "dr-ana".into(),
            sections: Vec::new(),
            except: vec!["notes".into()],
            labels: Vec::new(),
            purposes: vec!["treatment".into()],
            providers: Vec::new(),
            days: 365,
            earlier: true,
            newcomers: NewcomersRule::All,
            wakers: Vec::new(),
            minutes: None,
            made_at: 0,
        };
        let all = ["labs".to_owned(), "notes".to_owned(), "claims".to_owned()];
        assert_eq!(policy.extends_to(all.iter()), ["labs", "claims"]);
        let sensitive = ["labs".to_owned(), "labs/sexual".to_owned(), "notes/sexual".to_owned()];
        assert_eq!(policy.extends_to(sensitive.iter()), ["labs"], "what bears a label takes the label");
        let told = Policy { labels: vec!["sexual".into()], ..policy.clone() };
        assert_eq!(told.extends_to(sensitive.iter()), ["labs", "labs/sexual"], "and what is left out is left out");
        let named = Policy { sections: vec!["labs/sexual".into()], ..policy.clone() };
        assert_eq!(named.extends_to(sensitive.iter()), ["labs/sexual"]);
        let only = Policy { sections: vec!["notes".into(), "labs".into()], ..policy };
        assert_eq!(only.extends_to(all.iter()), ["labs"]);
    }
}

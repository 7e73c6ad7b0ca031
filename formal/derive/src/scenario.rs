//! Who holds, sends and deletes what, and what any of them together may derive.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    knowledge::{Knowledge, Scalars},
    term::Term,
};

/// Ends the name of a party whose memory is taken as it is at the end: what it deleted is gone.
/// Without it the party was corrupt from the beginning and kept all it ever saw.
pub const LATE: &str = "@late";

struct Item {
    term: Term,
    deleted: bool,
}

/// One story, and for sets of corrupt parties the goals that they can derive; they must be unable
/// to derive all others.
pub struct Scenario {
    name: String,
    parties: BTreeMap<String, Vec<Item>>,
    goals: Vec<(String, Term)>,
    expected: Vec<(Vec<String>, BTreeSet<String>)>,
    faults: Vec<String>,
}

/// What was found about one goal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Parties together.
    pub who: Vec<String>,
    /// Goal.
    pub goal: String,
    /// Whether they should be able to.
    pub expected: bool,
    /// Whether they are.
    pub found: bool,
}

impl Scenario {
    /// An empty story.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            parties: BTreeMap::new(),
            goals: Vec::new(),
            expected: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `party` has these from before, or makes them.
    pub fn knows(&mut self, party: &str, terms: &[Term]) {
        let items = self.parties.entry(party.into()).or_default();
        items.extend(terms.iter().map(|t| Item { term: t.clone(), deleted: false }));
    }

    /// `from` sends `terms` on a channel that `to` see, and nobody else. What the sender cannot
    /// derive from what it has at this point is a fault of the scenario.
    pub fn send(&mut self, from: &str, to: &[&str], terms: &[Term]) {
        let held = self.parties.entry(from.into()).or_default();
        let known = Knowledge::of(held.iter().filter(|i| !i.deleted).map(|i| &i.term), terms, Scalars::Group);
        for term in terms.iter().filter(|t| !known.derives(t)) {
            self.faults.push(format!("{from} cannot make {term:?}"));
        }
        for party in to {
            self.knows(party, terms);
        }
    }

    /// `party`, if honest, deletes these. Deleting what it never held is a fault of the scenario.
    pub fn deletes(&mut self, party: &str, terms: &[Term]) {
        for term in terms {
            let items = self.parties.entry(party.into()).or_default();
            let mut found = false;
            for item in items.iter_mut().filter(|i| i.term == *term) {
                item.deleted = true;
                found = true;
            }
            if !found {
                self.faults.push(format!("{party} does not hold {term:?}"));
            }
        }
    }

    /// Something to ask for.
    pub fn goal(&mut self, name: &str, term: &Term) {
        self.goals.push((name.into(), term.clone()));
    }

    /// `who` together can derive these goals of the scenario, and none of its others.
    pub fn expect(&mut self, who: &[&str], can: &[&str]) {
        for goal in can {
            if !self.goals.iter().any(|(name, _)| name == goal) {
                self.faults.push(format!("no goal is called {goal}"));
            }
        }
        self.expected.push((who.iter().map(|w| (*w).into()).collect(), can.iter().map(|g| (*g).into()).collect()));
    }

    /// What makes the scenario no story that could happen.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    fn knowledge(&self, who: &[String], scalars: Scalars) -> Knowledge {
        let mut held: Vec<&Term> = Vec::new();
        for name in who {
            let (party, late) = name.strip_suffix(LATE).map_or((name.as_str(), false), |p| (p, true));
            let Some(items) = self.parties.get(party) else { panic!("{}: no party is called {party}", self.name) };
            held.extend(items.iter().filter(|i| !(late && i.deleted)).map(|i| &i.term));
        }
        Knowledge::of(held, self.goals.iter().map(|(_, t)| t), scalars)
    }

    /// Whether `who` together can derive `goal`.
    ///
    /// # Panics
    /// If there is no such party or goal.
    #[must_use]
    pub fn can(&self, who: &[&str], goal: &str, scalars: Scalars) -> bool {
        let who: Vec<String> = who.iter().map(|w| (*w).into()).collect();
        let Some((_, term)) = self.goals.iter().find(|(name, _)| name == goal) else {
            panic!("{}: no goal is called {goal}", self.name)
        };
        self.knowledge(&who, scalars).derives(term)
    }

    /// Every set of parties against every goal.
    #[must_use]
    pub fn verdicts(&self, scalars: Scalars) -> Vec<Verdict> {
        let mut out = Vec::new();
        for (who, can) in &self.expected {
            let knowledge = self.knowledge(who, scalars);
            for (goal, term) in &self.goals {
                let (expected, found) = (can.contains(goal), knowledge.derives(term));
                out.push(Verdict { who: who.clone(), goal: goal.clone(), expected, found });
            }
        }
        out
    }

    /// The verdicts as text: a row per set of parties, a column per goal. `!` marks what was not
    /// expected.
    #[must_use]
    pub fn table(&self, scalars: Scalars) -> String {
        use std::fmt::Write as _;
        let verdicts = self.verdicts(scalars);
        let names: Vec<String> = self.expected.iter().map(|(who, _)| who.join(" + ")).collect();
        let first = names.iter().map(String::len).max().unwrap_or(0);
        let mut out = format!("{}\n{:first$}", self.name, "");
        for (goal, _) in &self.goals {
            let _ = write!(out, " | {goal}");
        }
        out.push('\n');
        for (name, row) in names.iter().zip(verdicts.chunks(self.goals.len().max(1))) {
            let _ = write!(out, "{name:first$}");
            for v in row {
                let mark = match (v.found, v.found == v.expected) {
                    (true, true) => "can",
                    (false, true) => "-",
                    (true, false) => "can !",
                    (false, false) => "- !",
                };
                let width = v.goal.chars().count();
                let _ = write!(out, " | {mark:width$}");
            }
            out.push('\n');
        }
        out
    }
}

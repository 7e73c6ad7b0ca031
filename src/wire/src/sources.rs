//! Which providers a source stands for: itself, everyone below it, and whom it succeeded or who succeeded it. The cloud,
//! the gate and whoever checks an answer must agree on it.

use std::collections::HashMap;

use sealdex_crypto::PrincipalId;

use crate::{
    limits,
    roster::{Role, Roster},
    search::{ClauseError, CloudClause},
};

/// For each provider, whom it stands for besides itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources(HashMap<PrincipalId, Vec<PrincipalId>>);

impl Sources {
    /// Of a roster with everyone that was enrolled below its members. Parents that form a ring are followed once round.
    pub fn of(roster: &Roster) -> Self {
        let providers: HashMap<_, _> =
            roster.members.iter().filter(|m| m.role == Role::Provider).map(|m| (m.id, m)).collect();
        let mut below = HashMap::<_, Vec<_>>::new();
        for member in roster.members.iter().filter(|m| m.role == Role::Provider) {
            if let Some(before) = member.succeeds {
                below.entry(before).or_default().push(member.id);
                below.entry(member.id).or_default().push(before);
            }
            let (mut parent, mut steps) = (member.parent, 0);
            while let Some(id) = parent.filter(|_| steps <= providers.len()) {
                below.entry(id).or_default().push(member.id);
                parent = providers.get(&id).and_then(|m| m.parent);
                steps += 1;
            }
        }
        Self(below)
    }

    /// The clause with everyone that a source stands for added to it.
    ///
    /// # Errors
    /// [`ClauseError::TooMany`] beyond [`limits::CLOUD_LEAVES`] added.
    pub fn unfold(&self, clause: CloudClause) -> Result<CloudClause, ClauseError> {
        self.unfold_within(clause, &mut { limits::CLOUD_LEAVES })
    }

    fn unfold_within(&self, clause: CloudClause, room: &mut usize) -> Result<CloudClause, ClauseError> {
        let mut all =
            |cs: Vec<CloudClause>| cs.into_iter().map(|c| self.unfold_within(c, room)).collect::<Result<Vec<_>, _>>();
        Ok(match clause {
            CloudClause::And(cs) => CloudClause::And(all(cs)?),
            CloudClause::Or(cs) => CloudClause::Or(all(cs)?),
            CloudClause::Not(c) => CloudClause::Not(Box::new(self.unfold_within(*c, room)?)),
            CloudClause::Source(mut ids) => {
                let below: usize = ids.iter().filter_map(|id| self.0.get(id)).map(Vec::len).sum();
                *room = room.checked_sub(below).ok_or(ClauseError::TooMany(limits::CLOUD_LEAVES))?;
                let below: Vec<_> = ids.iter().filter_map(|id| self.0.get(id)).flatten().copied().collect();
                ids.extend(below);
                CloudClause::Source(ids)
            }
            leaf => leaf,
        })
    }
}

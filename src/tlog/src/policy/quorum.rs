//! How many witnesses, and which of them together.

/// One witness, or so many of several; each witness is in a rule once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rule {
    /// The witness at this place of the policy.
    Witness(usize),
    /// At least `threshold` of the members, 1 to all of them.
    Group {
        /// How many.
        threshold: usize,
        /// Of which.
        members: Vec<Rule>,
    },
}

impl Rule {
    /// So many of the first `witnesses` of a policy; `None` if none are needed.
    pub(super) fn count(threshold: usize, witnesses: usize) -> Option<Self> {
        let members = (0..witnesses).map(Self::Witness).collect();
        (threshold > 0).then_some(Self::Group { threshold, members })
    }

    /// The latest time such that the witnesses who have cosigned then or later satisfy the rule,
    /// from the time of each, if any; `None` if all of them do not.
    pub(super) fn time(&self, times: &[Option<u64>]) -> Option<u64> {
        match self {
            Self::Witness(place) => *times.get(*place)?,
            Self::Group { threshold, members } => {
                let mut times: Vec<_> = members.iter().filter_map(|member| member.time(times)).collect();
                times.sort_unstable_by(|a, b| b.cmp(a));
                times.get(threshold.checked_sub(1)?).copied()
            }
        }
    }

    /// The smallest number of witnesses that satisfies the rule.
    pub(super) fn least(&self) -> usize {
        match self {
            Self::Witness(_) => 1,
            Self::Group { threshold, members } => {
                let mut least: Vec<_> = members.iter().map(Self::least).collect();
                least.sort_unstable();
                least.iter().take(*threshold).sum()
            }
        }
    }
}

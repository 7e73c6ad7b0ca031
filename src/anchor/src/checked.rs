//! What a check compares: the latest checkpoint on the chain with the log somebody is shown.

use sealdex_crypto::log::{self, Hash, LogError};

use crate::Anchored;

/// How a log and its anchor stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Nothing of this log is anchored yet.
    NotAnchored,
    /// The same entries.
    Agrees {
        /// How many.
        size: u64,
    },
    /// The log begins with what is anchored and has grown since.
    Behind {
        /// Entries anchored.
        anchored: u64,
        /// Entries in the log.
        log: u64,
    },
    /// The log shown has fewer entries than are anchored: an old copy, or entries were taken away.
    Shorter {
        /// Entries anchored.
        anchored: u64,
        /// Entries in the log.
        log: u64,
    },
    /// The log does not begin with what is anchored: it was forked or rewritten.
    Differs {
        /// Entries anchored.
        size: u64,
        /// Root that is anchored.
        anchored: Hash,
        /// The log's root of as many entries.
        log: Hash,
    },
    /// It was not proved that the log begins with what is anchored: a wrong proof, or a fork.
    Unproved {
        /// Entries anchored.
        anchored: u64,
        /// Entries in the log.
        log: u64,
        /// What is wrong with the proof.
        why: LogError,
    },
}

impl Checked {
    /// Whether the log begins with all that is anchored (of which there may be nothing).
    #[must_use]
    pub fn is_fine(&self) -> bool {
        matches!(self, Self::NotAnchored | Self::Agrees { .. } | Self::Behind { .. })
    }
}

/// Compares with a log of `size` entries whose older roots the caller can compute, with `root_at`.
///
/// # Errors
/// What `root_at` fails with.
pub fn with_roots<E>(
    anchored: Option<&Anchored>,
    size: u64,
    root_at: impl FnOnce(u64) -> Result<Hash, E>,
) -> Result<Checked, E> {
    let Some(anchored) = anchored else { return Ok(Checked::NotAnchored) };
    if size < anchored.size {
        return Ok(Checked::Shorter { anchored: anchored.size, log: size });
    }
    let root = root_at(anchored.size)?;
    Ok(if root != anchored.root {
        Checked::Differs { size: anchored.size, anchored: anchored.root, log: root }
    } else if size == anchored.size {
        Checked::Agrees { size }
    } else {
        Checked::Behind { anchored: anchored.size, log: size }
    })
}

/// Compares with a checkpoint of a log, for which it gave this consistency proof from what is anchored (empty if the
/// sizes are the same).
#[must_use]
pub fn with_proof(anchored: Option<&Anchored>, size: u64, root: &Hash, proof: &[Hash]) -> Checked {
    let Some(anchored) = anchored else { return Checked::NotAnchored };
    if size <= anchored.size {
        let compared: Result<_, std::convert::Infallible> = with_roots(Some(anchored), size, |_| Ok(*root));
        let Ok(checked) = compared;
        return checked;
    }
    match log::verify_consistency(anchored.size, &anchored.root, size, root, proof) {
        Ok(()) => Checked::Behind { anchored: anchored.size, log: size },
        Err(why) => Checked::Unproved { anchored: anchored.size, log: size, why },
    }
}

#[cfg(test)]
mod tests {
    use sealdex_crypto::log::{Tree, leaf_hash};

    use super::*;

    fn tree(size: u64, forked_at: u64) -> Tree {
        (0..size).map(|i| leaf_hash(format!("{i}{}", if i < forked_at { "" } else { "!" }).as_bytes())).collect()
    }

    #[test]
    fn both_ways_of_comparing_find_what_was_done_to_the_log() {
        let honest = tree(20, 20);
        for size in 1..=20 {
            let root = honest.root_at(size).unwrap();
            let anchored = Anchored { size, root, time: 1 };
            for log in 1..=20 {
                for forked_at in 0..=20 {
                    let shown = tree(log, forked_at);
                    let forked = forked_at < size.min(log);
                    let checked = with_roots(Some(&anchored), log, |at| shown.root_at(at)).unwrap();
                    let proof = shown.consistency_proof(size, log).unwrap_or_default();
                    let proved = with_proof(Some(&anchored), log, &shown.root(), &proof);
                    assert_eq!(checked.is_fine(), !forked && log >= size);
                    assert_eq!(checked.is_fine(), proved.is_fine());
                    match checked {
                        _ if log < size => assert_eq!(checked, Checked::Shorter { anchored: size, log }),
                        _ if forked => assert!(matches!(checked, Checked::Differs { size: at, .. } if at == size)),
                        _ if log == size => assert_eq!(checked, Checked::Agrees { size }),
                        _ => assert_eq!(checked, Checked::Behind { anchored: size, log }),
                    }
                    if forked && log > size {
                        assert!(matches!(proved, Checked::Unproved { .. }));
                    } else {
                        assert_eq!(proved, checked);
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_anchored_is_no_fault() {
        let unasked: Result<_, LogError> = with_roots(None, 5, |_| Err(LogError::FromEmpty));
        assert_eq!(unasked, Ok(Checked::NotAnchored));
        assert_eq!(with_proof(None, 5, &[1; 32], &[]), Checked::NotAnchored);
    }
}

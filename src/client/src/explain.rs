//! What a question is sent as, and what gate and cloud learn of it: `docs/SECURITY.md`, clause by clause.

use sealdex_crypto::cover;
use sealdex_fhir::IndexClause;
use sealdex_schema::Scope;

/// Longest value shown, characters.
const SHOWN: usize = 60;

/// One part of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// How deep it is nested.
    pub depth: usize,
    /// What is asked, in the clear: for whoever asked.
    pub asked: String,
    /// What leaves this machine.
    pub sent: String,
    /// What the gate learns of it.
    pub gate: String,
    /// What the cloud learns of it.
    pub cloud: String,
}

/// Explains a clause in a domain of so many hospitals.
pub fn explain(clause: &IndexClause, hospitals: usize) -> Vec<Part> {
    let mut parts = Vec::new();
    walk(clause, 0, hospitals, &mut parts);
    parts
}

fn walk(clause: &IndexClause, depth: usize, hospitals: usize, out: &mut Vec<Part>) {
    let mut part = |asked: String, sent: &str, gate: &str, cloud: String| {
        out.push(Part { depth, asked, sent: sent.into(), gate: gate.into(), cloud });
    };
    let terms = |scope: &Scope, each: usize| match (scope, each) {
        (Scope::Merged, 1) => "1 term".to_owned(),
        (Scope::Merged, n) => format!("{n} terms"),
        (Scope::Isolated, n) => format!("{} terms, {n} for each hospital", n * hospitals),
    };
    let same = "which records have it; that the same was asked before";
    match clause {
        IndexClause::All => {
            part("everything".into(), "nothing", "that everything is asked", "that everything is asked".into())
        }
        IndexClause::Token { field, scope, value } => part(
            format!("{field} = {}", shown(value)),
            "a token, 32 bytes",
            "that the same was asked or pushed before; not what it is",
            format!("{}: {same}", terms(scope, 1)),
        ),
        IndexClause::Bridged { field, scope, value } => part(
            format!("{field} = {}", shown(value)),
            "a point, blinded with this member's key",
            "that the same was asked or pushed before; not what it is",
            format!("{}: {same}", terms(scope, 1)),
        ),
        IndexClause::Order { field, scope, bits, from, to } => part(
            format!("{field}: steps {from} to {to} of 2^{bits}"),
            "two inner codes",
            "the order of these two among codes of the same field that pass it",
            match scope {
                Scope::Merged => {
                    "1 range of codes: which records lie in it, below and above it, over all hospitals".into()
                }
                Scope::Isolated => {
                    format!("{hospitals} ranges of codes: which records of each hospital lie in, below and above")
                }
            },
        ),
        IndexClause::Cover { field, scope, bits, from, to } => {
            let nodes = cover::cover(*bits, *from, *to).map_or(0, |nodes| nodes.len());
            part(
                format!("{field}: steps {from} to {to} of 2^{bits}"),
                &format!("{nodes} tokens, 32 bytes each"),
                "how many; which of them were asked or pushed before",
                format!("{}: which records have one, not their order", terms(scope, nodes)),
            );
        }
        IndexClause::Source(names) => part(
            format!("from {}", names.join(", ")),
            "ids of providers, in the clear",
            "which providers",
            "which providers".into(),
        ),
        IndexClause::And(all) | IndexClause::Or(all) => {
            let (word, whose) = match clause {
                IndexClause::And(_) => ("all of", "that these are asked together"),
                _ => ("any of", "that these are alternatives"),
            };
            if all.len() > 1 {
                part(format!("{word} {}", all.len()), "how they are joined", whose, whose.into());
            }
            let deeper = depth + usize::from(all.len() > 1);
            all.iter().for_each(|c| walk(c, deeper, hospitals, out));
        }
        IndexClause::Not(inner) => {
            part("none of".into(), "that it is negated", "that it is negated", "that it is negated".into());
            walk(inner, depth + 1, hospitals, out);
        }
    }
}

fn shown(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let printable: String = text.chars().map(|c| if c.is_control() { '\u{b7}' } else { c }).take(SHOWN).collect();
    if text.chars().count() > SHOWN { printable + "…" } else { printable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isolated_fields_cost_a_term_for_each_hospital() {
        let token = |scope| IndexClause::Token { field: "observation.code".into(), scope, value: b"4548-4".to_vec() };
        let clause = IndexClause::And(vec![token(Scope::Isolated), IndexClause::Not(Box::new(token(Scope::Merged)))]);
        let parts = explain(&clause, 5);
        let seen: Vec<(usize, &str, &str)> =
            parts.iter().map(|p| (p.depth, p.asked.as_str(), p.cloud.as_str())).collect();
        assert_eq!(seen[0], (0, "all of 2", "that these are asked together"));
        assert_eq!(seen[1].0, 1);
        assert!(seen[1].2.starts_with("5 terms, 1 for each hospital"), "{}", seen[1].2);
        assert_eq!(seen[2], (1, "none of", "that it is negated"));
        assert!(seen[3].0 == 2 && seen[3].2.starts_with("1 term:"), "{}", seen[3].2);
    }

    #[test]
    fn a_cover_says_how_many_tokens_it_takes() {
        let clause = IndexClause::Cover { field: "f".into(), scope: Scope::Merged, bits: 8, from: 0, to: 255 };
        let count = cover::cover(8, 0, 255).unwrap().len();
        assert_eq!(explain(&clause, 3)[0].sent, format!("{count} tokens, 32 bytes each"));
    }

    #[test]
    fn values_are_cut_and_made_printable() {
        assert_eq!(shown(b"a\x00b"), "a\u{b7}b");
        assert_eq!(shown(&[b'x'; 100]).chars().count(), SHOWN + 1);
    }
}

//! From a plan's index clauses to inner tokens and codes.

use sealdex_crypto::PrincipalId;
use sealdex_fhir::IndexClause;
use sealdex_member::{IndexError, IndexKeys};
use sealdex_schema::Scope;
use sealdex_wire::search::InnerClause;

/// Why a plan could not be compiled.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CompileError {
    /// A value the index cannot hold.
    #[error("field {field}: {cause}")]
    Index {
        /// Field.
        field: String,
        /// Why.
        cause: IndexError,
    },
    /// A provider the roster does not list.
    #[error("no provider is named \"{name}\"; the roster lists: {known}")]
    UnknownSource {
        /// Name asked for.
        name: String,
        /// Names there are.
        known: String,
    },
}

/// Compiles clauses with a member's keys. `source` resolves a provider's name.
pub fn compile(
    clause: &IndexClause,
    keys: &IndexKeys,
    source: &impl Fn(&str) -> Result<PrincipalId, CompileError>,
) -> Result<InnerClause, CompileError> {
    let fail = |field: &str| {
        let field = field.to_owned();
        move |cause| CompileError::Index { field, cause }
    };
    let merged = |scope: &Scope| *scope == Scope::Merged;
    let all = |cs: &[IndexClause]| cs.iter().map(|c| compile(c, keys, source)).collect::<Result<Vec<_>, _>>();
    Ok(match clause {
        IndexClause::All => InnerClause::All,
        IndexClause::Token { field, scope, value } => {
            InnerClause::Token { merged: merged(scope), token: keys.token(field, value).map_err(fail(field))? }
        }
        IndexClause::Bridged { field, scope, value } => {
            InnerClause::Bridged { merged: merged(scope), point: keys.bridged(field, value).map_err(fail(field))? }
        }
        IndexClause::Order { field, scope, bits, from, to } => {
            let (lo, hi) = keys.order_bounds(field, *bits, *from, *to).map_err(fail(field))?;
            let blinded = keys.field(field).map_err(fail(field))?.blinded.0;
            InnerClause::Order { merged: merged(scope), field: blinded, bits: *bits, lo, hi }
        }
        IndexClause::Cover { field, scope, bits, from, to } => {
            let tokens = keys.cover_range(field, *bits, *from, *to).map_err(fail(field))?;
            InnerClause::Or(
                tokens.into_iter().map(|token| InnerClause::Token { merged: merged(scope), token }).collect(),
            )
        }
        IndexClause::And(cs) => InnerClause::And(all(cs)?),
        IndexClause::Or(cs) => InnerClause::Or(all(cs)?),
        IndexClause::Not(c) => InnerClause::Not(Box::new(compile(c, keys, source)?)),
        IndexClause::Source(names) => InnerClause::Source(names.iter().map(|n| source(n)).collect::<Result<_, _>>()?),
    })
}

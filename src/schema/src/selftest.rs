//! Known answers for the quantisers, in the shape of the suite's vectors.

use serde_json::Value as Json;

use crate::{CalendarError, Decimal, Instant, Quantiser, date_to_day, quantise};

/// Checks the section `quantiser` of a vectors file: an object of lists `decimal7`, `linear`, `minute`,
/// `day`. One result per case; an unknown list is a failure.
pub fn check_quantisers(section: &Json) -> Vec<Result<(), String>> {
    let Some(lists) = section.as_object() else { return vec![Err("quantiser: not an object of lists".into())] };
    let mut results = Vec::new();
    for (kind, cases) in lists {
        match cases.as_array() {
            None => results.push(Err(format!("quantiser.{kind}: not a list"))),
            Some(cases) => results.extend(cases.iter().enumerate().map(|(i, case)| {
                let expected = text(case, "q")?;
                let actual = answer(kind, case).map_err(|e| format!("quantiser.{kind}[{i}]: {e}"))?;
                if actual.to_string() == expected {
                    Ok(())
                } else {
                    Err(format!("quantiser.{kind}[{i}]: expected {expected}, got {actual}"))
                }
            })),
        }
    }
    results
}

fn text(case: &Json, name: &str) -> Result<String, String> {
    match case.get(name) {
        Some(Json::String(s)) => Ok(s.clone()),
        Some(Json::Number(n)) => Ok(n.as_str().to_owned()),
        _ => Err(format!("no \"{name}\"")),
    }
}

fn decimal(case: &Json, name: &str) -> Result<Decimal, String> {
    Decimal::parse(&text(case, name)?).map_err(|e| format!("{name}: {e}"))
}

fn answer(kind: &str, case: &Json) -> Result<u64, String> {
    match kind {
        "decimal7" => Quantiser::Decimal7.decimal(&decimal(case, "x")?).map_err(|e| e.to_string()),
        "linear" => {
            let x = decimal(case, "x")?;
            // A case need not name an upper bound.
            let max = decimal(case, "max").unwrap_or_else(|_| x.clone());
            let quantiser =
                Quantiser::linear(decimal(case, "min")?, max, decimal(case, "step")?).map_err(|e| e.to_string())?;
            if let Ok(bits) = text(case, "bits")
                && bits != quantiser.bits().to_string()
            {
                return Err(format!("expected {bits} bits, got {}", quantiser.bits()));
            }
            quantiser.decimal(&x).map_err(|e| e.to_string())
        }
        "minute" => {
            let seconds = text(case, "unix_seconds")?.parse().map_err(|_| "unix_seconds: not an integer".to_owned())?;
            quantise::minute(Instant { seconds, atto: 0 }).map_err(|e| e.to_string())
        }
        "day" => date_to_day(&text(case, "date")?).map(u64::from).map_err(|e: CalendarError| e.to_string()),
        other => Err(format!("unknown quantiser {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_and_wrong_answers_are_told_apart() {
        let cases: Json = serde_json::from_str(
            r#"{"decimal7":[{"x":"7.5","q":"2261983649"},{"x":"7.5","q":"1"},{"x":"-3","q":"2037483647"},
                {"x":"-0.0","q":"2147483648"},{"x":"0.000000000001","q":"2147483649"},{"x":"9999999.99","q":"2318483648"}],"day":[{"date":"2000-02-29","q":"730178"}],
                "minute":[{"unix_seconds":-1,"q":"2147483647"}],"linear":[{"x":"7.35","min":"-50","step":"0.1","q":"573"}],"hour":[{}]}"#,
        )
        .unwrap();
        let results = check_quantisers(&cases);
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 8);
        assert_eq!(results.iter().filter(|r| r.is_err()).count(), 2);
        assert_eq!(check_quantisers(&Json::Null).len(), 1);
    }

    #[test]
    fn the_shipped_schemas_are_valid_and_use_every_kind_and_both_scopes() {
        use crate::{IndexKind, Schema, Scope};
        let schema = Schema::fhir_r4();
        let fields: Vec<_> = schema.types().flat_map(|(_, t)| &t.fields).collect();
        let has = |f: &dyn Fn(&&&crate::Field) -> bool| fields.iter().filter(f).count() > 0;
        assert!(
            has(&|f| f.index == IndexKind::Token)
                && has(&|f| f.index == IndexKind::Bridged)
                && has(&|f| f.index == IndexKind::Words)
        );
        assert!(has(&|f| matches!(f.index, IndexKind::Order(_))) && has(&|f| matches!(f.index, IndexKind::Cover(_))));
        assert!(has(&|f| f.scope == Scope::Merged) && has(&|f| f.scope == Scope::Isolated));
        assert!(Schema::parse(crate::DIABETES130).is_ok());
        assert!(schema.directory_sections().map(|s| s.name.as_str()).eq(["directory"]));
        assert!(schema.patient_sections().all(|s| s.name != "directory"));
    }

    #[test]
    fn a_bad_schema_says_what_and_where() {
        use crate::{Schema, SchemaError};
        let base = "version = 1\n[sections.a]\n[default]\nsection = \"a\"\nowner = \"subject.reference\"\n";
        assert!(Schema::parse(base).is_ok());
        let with = |more: &str| Schema::parse(&format!("{base}{more}")).unwrap_err();
        let unknown = with("[types.T]\nsection = \"b\"\nowner = \"itself\"\n");
        assert_eq!(unknown, SchemaError::UnknownSection { place: "T".into(), section: "b".into() });
        let field = |f: &str| with(&format!("[types.T]\nsection = \"a\"\nowner = \"itself\"\n[[types.T.fields]]\n{f}"));
        let misfit = field("name=\"d\"\npath=\"d\"\nnormaliser=\"date\"\nindex={order=\"minute\"}\nreason=\"x\"");
        assert!(matches!(misfit, SchemaError::Field { field, .. } if field == "T.d"));
        let words =
            field("name=\"d\"\npath=\"d\"\nqualified_by=\"c\"\nnormaliser=\"text\"\nindex=\"words\"\nreason=\"x\"");
        assert!(matches!(words, SchemaError::Field { reason, .. } if reason.contains("qualified_by")));
        let dotted = with("[types.\"A.B\"]\nsection = \"a\"\nowner = \"itself\"\n");
        assert_eq!(dotted, SchemaError::TypeName("A.B".into()), "\"A.B\".c must not meet A.\"B.c\"");
        assert!(matches!(field("name=\"d\"\nwhat=1"), SchemaError::Toml(_)));
        assert_eq!(Schema::parse(&base.replace("version = 1", "version = 2")), Err(SchemaError::Version(2)));
    }
}

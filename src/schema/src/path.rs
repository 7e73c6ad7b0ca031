//! Paths into a record: dotted names, arrays entered by themselves.

use serde_json::Value;

/// A path such as `code.coding.display`. Where a value is an array, each element is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Box<[Box<str>]>);

impl Path {
    /// Parses a dotted path; `None` when a name is empty or not made of letters, digits, `_` and `-`.
    pub fn parse(text: &str) -> Option<Self> {
        let name = |n: &str| !n.is_empty() && n.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        text.split('.').all(name).then(|| Self(text.split('.').map(Into::into).collect()))
    }

    /// Calls `found` with every value at the path, in document order.
    pub fn visit<'v>(&self, root: &'v Value, found: &mut impl FnMut(&'v Value)) {
        walk(root, &self.0, found);
    }

    /// The path without its last name, if that leaves any.
    pub(crate) fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_last()?;
        (!rest.is_empty()).then(|| Self(rest.into()))
    }

    /// The first value at the path.
    pub fn first<'v>(&self, root: &'v Value) -> Option<&'v Value> {
        let mut first = None;
        self.visit(root, &mut |v| first = first.or(Some(v)));
        first
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

fn walk<'v>(value: &'v Value, path: &[Box<str>], found: &mut impl FnMut(&'v Value)) {
    match (value, path.split_first()) {
        (Value::Array(items), _) => items.iter().for_each(|item| walk(item, path, found)),
        // FHIR pads arrays of primitives with null where only an extension stands: no value.
        (Value::Null, _) => {}
        (Value::Object(map), Some((name, rest))) => {
            if let Some(next) = map.get(&**name) {
                walk(next, rest, found);
            }
        }
        (_, Some(_)) => {}
        (leaf, None) => found(leaf),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_entered() {
        let v = serde_json::json!({"code": {"coding": [{"code": "a"}, {"x": 1}, {"code": "b"}]}});
        let mut found = Vec::new();
        Path::parse("code.coding.code").unwrap().visit(&v, &mut |x| found.push(x.clone()));
        assert_eq!(found, ["a", "b"]);
        assert!(Path::parse("a..b").is_none() && Path::parse("").is_none());
    }

    #[test]
    fn null_is_no_value() {
        let v = serde_json::json!({"given": [null, "Ana"], "family": null});
        let mut found = Vec::new();
        for path in ["given", "family"] {
            Path::parse(path).unwrap().visit(&v, &mut |x| found.push(x.clone()));
        }
        assert_eq!(found, ["Ana"]);
    }
}

//! The page of figures: between two marks, what a study found; the words around them are people's.

use std::{fs, io, path::Path};

use crate::report::Study;

/// Puts the figures of every study that the page has marks for, and that was run, between them.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn renew(page: &Path, figures: &Path) -> io::Result<()> {
    let named = |e: &dyn std::fmt::Display| io::Error::other(format!("{}: {e}", page.display()));
    let mut text = fs::read_to_string(page).map_err(|e| named(&e))?;
    for entry in fs::read_dir(figures)? {
        let path = entry?.path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let (name, found) = match path.file_name().is_some_and(|n| n == "peers.json") {
            true => ("peers".to_owned(), crate::peers::section(&path)?),
            false => {
                let study = Study::read(&path)?;
                (study.name.clone(), section(&study))
            }
        };
        text = replaced(&text, &name, &found).map_err(|e| named(&e))?;
    }
    fs::write(page, text).map_err(|e| named(&e))
}

fn section(study: &Study) -> String {
    let m = &study.machine;
    format!(
        "{}\n\n{} on {} cores of {}, {}; `fdatasync` of 4 KiB {:.0} µs; load before it {:.1}{}.\n\n{}",
        study.about,
        study.when.split('T').next().unwrap_or_default(),
        m.cores,
        m.cpu,
        m.rustc,
        m.fdatasync_us,
        m.load,
        if study.quick { "; **a quick run, its figures say nothing**" } else { "" },
        study.markdown()
    )
}

/// The text with what is between the marks of a study replaced.
fn replaced(text: &str, study: &str, with: &str) -> Result<String, String> {
    let marks = [format!("<!-- {study} -->\n"), format!("<!-- end of {study} -->")];
    let Some((before, rest)) = text.split_once(marks[0].as_str()) else { return Ok(text.to_owned()) };
    let (_, after) = rest.split_once(marks[1].as_str()).ok_or(format!("has no mark {}", marks[1]))?;
    Ok(format!("{before}{}{with}\n{}{after}", marks[0], marks[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let text = "a\n<!-- push -->\nold\n<!-- end of push -->\nb\n";
        let new = replaced(text, "push", "new").unwrap();
        assert_eq!(new, "a\n<!-- push -->\nnew\n<!-- end of push -->\nb\n");
        assert_eq!(replaced(&new, "push", "new").unwrap(), new, "again is the same");
        assert_eq!(replaced(text, "query", "new").unwrap(), text, "a study without marks");
        assert!(replaced("<!-- push -->\nold", "push", "new").is_err());
    }
}

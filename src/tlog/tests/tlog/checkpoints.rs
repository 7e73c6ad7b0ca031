//! Checkpoints: one text for each, and bounds on all of it.

use proptest::prelude::*;
use sealdex_tlog::checkpoint::{
    Checkpoint, CheckpointError, MAX_EXTENSION_BYTES, MAX_EXTENSIONS, MAX_ORIGIN_BYTES, MAX_SIZE,
};

const ROOT: &str = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";

#[test]
fn malformed_checkpoints_are_refused() {
    use CheckpointError::{Extension, Lines, Origin, Root, Size};
    let unpadded = ROOT.trim_end_matches('=');
    for (text, expected) in [
        (String::new(), Lines),
        ("\n".into(), Lines),
        ("a\n".into(), Lines),
        ("a\n1\n".into(), Lines),
        (format!("a\n1\n{ROOT}"), Lines),
        (format!("\n1\n{ROOT}\n"), Origin),
        (format!("a\tb\n1\n{ROOT}\n"), Origin),
        (format!("{}\n1\n{ROOT}\n", "a".repeat(MAX_ORIGIN_BYTES + 1)), Origin),
        (format!("{}\n1\n{ROOT}\n", "é".repeat(MAX_ORIGIN_BYTES / 2 + 1)), Origin),
        (format!("a\n\n{ROOT}\n"), Size),
        (format!("a\n01\n{ROOT}\n"), Size),
        (format!("a\n00\n{ROOT}\n"), Size),
        (format!("a\n+1\n{ROOT}\n"), Size),
        (format!("a\n-1\n{ROOT}\n"), Size),
        (format!("a\n 1\n{ROOT}\n"), Size),
        (format!("a\n1 \n{ROOT}\n"), Size),
        (format!("a\n0x1\n{ROOT}\n"), Size),
        (format!("a\n1_0\n{ROOT}\n"), Size),
        (format!("a\n1.0\n{ROOT}\n"), Size),
        (format!("a\n١\n{ROOT}\n"), Size),
        (format!("a\n9223372036854775808\n{ROOT}\n"), Size),
        (format!("a\n18446744073709551616\n{ROOT}\n"), Size),
        (format!("a\n1\n{unpadded}\n"), Root),
        (format!("a\n1\n{ROOT}=\n"), Root),
        (format!("a\n1\n{ROOT} \n"), Root),
        (format!("a\n1\n {ROOT}\n"), Root),
        ("a\n1\n\n".into(), Root),
        (format!("a\n1\n{}\n", ROOT.replace('/', "_")), Root),
        // 31 and 33 bytes.
        (format!("a\n1\n{}==\n", &ROOT[..42]), Root),
        (format!("a\n1\n{unpadded}A\n"), Root),
        // The last character holds two bits that no byte has.
        (format!("a\n1\n{}J=\n", &ROOT[..42]), Root),
        (format!("a\n1\n{ROOT}\n\n"), Extension { line: 1 }),
        (format!("a\n1\n{ROOT}\nx\n\ny\n"), Extension { line: 2 }),
        (format!("a\n1\n{ROOT}\nx\ry\n"), Extension { line: 1 }),
        (format!("a\n1\n{ROOT}\n{}\n", "x".repeat(MAX_EXTENSION_BYTES + 1)), Extension { line: 1 }),
        (
            format!("a\n1\n{ROOT}\n{}", "x\n".repeat(MAX_EXTENSIONS + 1)),
            CheckpointError::TooManyExtensions { found: MAX_EXTENSIONS + 1 },
        ),
    ] {
        assert_eq!(Checkpoint::parse(&text), Err(expected), "{text:?}");
    }
    // 32 bytes of another last character, so the root above was refused for its bits.
    assert!(Checkpoint::parse(&format!("a\n1\n{}I=\n", &ROOT[..42])).is_ok());
}

#[test]
fn the_bounds_themselves_are_accepted() {
    let origin = "a".repeat(MAX_ORIGIN_BYTES);
    let extensions = format!("{}\n", "x".repeat(MAX_EXTENSION_BYTES)).repeat(MAX_EXTENSIONS);
    let text = format!("{origin}\n{MAX_SIZE}\n{ROOT}\n{extensions}");
    assert_eq!(Checkpoint::parse(&text).unwrap().to_string(), text);
    let spaces = format!("example log+origin\n0\n{ROOT}\n");
    assert_eq!(Checkpoint::parse(&spaces).unwrap().origin(), "example log+origin");
    assert_eq!(Checkpoint::new("a", MAX_SIZE + 1, [0; 32]), Err(CheckpointError::Size));
    assert_eq!(Checkpoint::new("a\nb", 0, [0; 32]), Err(CheckpointError::Origin));
    let lines = Checkpoint::new("a", 0, [0; 32]).unwrap().with_extensions(vec!["x".into(), "y\nz".into()]);
    assert_eq!(lines, Err(CheckpointError::Extension { line: 2 }));
}

proptest! {
    #[test]
    fn a_checkpoint_goes_through_its_text(
        origin in "\\PC{1,60}",
        size in 0..=MAX_SIZE,
        root: [u8; 32],
        extensions in prop::collection::vec("\\PC{1,20}", 0..4),
    ) {
        let checkpoint = Checkpoint::new(origin, size, root).unwrap().with_extensions(extensions).unwrap();
        prop_assert_eq!(Checkpoint::parse(&checkpoint.to_string()), Ok(checkpoint));
    }

    #[test]
    fn what_is_read_as_a_checkpoint_is_written_the_same(text in "(\\PC|\n){0,80}", at in 0_usize..70, replaced in 0_usize..4) {
        let whole = format!("log.example\n123\n{ROOT}\nextension\n");
        let near = format!("{}{}{}", &whole[..at], &text.chars().take(3).collect::<String>(), &whole[(at + replaced).min(whole.len())..]);
        for text in [text, near] {
            if let Ok(checkpoint) = Checkpoint::parse(&text) {
                prop_assert_eq!(checkpoint.to_string(), text);
            }
        }
    }
}

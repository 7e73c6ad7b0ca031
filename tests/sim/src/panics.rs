//! Panics of the roles' own code, on whatever they happen: a server turns one into an answer, a worker may swallow it.

use std::{cell::RefCell, panic, sync::Once};

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Panics on this thread since this was called last. Those of libraries are not among them: tantivy panics over damaged
/// files, which is caught and mended.
pub(crate) fn take() -> Vec<String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // Of this workspace the compiler is given relative paths.
            if let Some(at) = info.location().filter(|l| l.file().starts_with("src/")) {
                let said = info.payload().downcast_ref::<&str>().map(|said| (*said).to_owned());
                let said = said.or_else(|| info.payload().downcast_ref::<String>().cloned()).unwrap_or_default();
                SEEN.with_borrow_mut(|seen| seen.push(format!("{at}: {said}")));
            }
            before(info);
        }));
    });
    SEEN.take()
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_not_ours_is_not_counted() {
        super::take();
        assert!(std::panic::catch_unwind(|| panic!("of a test")).is_err());
        assert_eq!(super::take(), Vec::<String>::new());
    }
}

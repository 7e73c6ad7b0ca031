//! Domain-separation labels of the gateway.

/// Key of all links, from the member's identity seed.
pub(crate) const LINKS: &str = "sealdex/gateway/links";
/// A place in a search's pages.
pub(crate) const PAGE: &str = "sealdex/gateway/page";
/// A search's name in the cache.
pub(crate) const CACHE: &str = "sealdex/gateway/cache";
/// A bulk export under way.
pub(crate) const JOB: &str = "sealdex/gateway/export/job";
/// A file of a bulk export.
pub(crate) const FILE: &str = "sealdex/gateway/export/file";

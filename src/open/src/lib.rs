//! sealdex-open

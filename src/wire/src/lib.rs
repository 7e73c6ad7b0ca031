//! sealdex-wire

//! sealdex-tests

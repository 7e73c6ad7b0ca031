//! sealdex-cloud

//! Whatever comes as a resource: read, validated, indexed, and asked whose it is.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sealdex_fhir::Record;
use sealdex_schema::Schema;

static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::fhir_r4);

fuzz_target!(|data: &[u8]| {
    let Ok(record) = Record::from_bytes(data.to_vec()) else { return };
    let _ = sealdex_r4::validate(&record.json);
    let _ = SCHEMA.index(&record.resource_type, &record.id, &record.json);
    let _ = SCHEMA.owner(&record.resource_type, &record.id, &record.json);
});

//! The same records in the clear in PostgreSQL: a B-tree on each value column, GIN on the words.

use std::path::Path;
use std::time::{Duration, Instant};

use postgres::binary_copy::BinaryCopyInWriter;
use postgres::types::{ToSql, Type};
use postgres::{SimpleQueryMessage, Statement};
use uuid::Uuid;

use super::records::{Condition, Question, Record};
use super::server::Server;
use crate::Failure;

const COLUMNS: [&str; 7] = ["a", "b", "t0", "t1", "t2", "t3", "t4"];
const TYPES: [Type; 11] = [
    Type::UUID,
    Type::INT8,
    Type::INT8,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT_ARRAY,
    Type::BYTEA,
    Type::BYTEA,
];

/// A row's bytes that are not indexed.
pub struct Payload {
    pub tag: Vec<u8>,
    pub sealed: Vec<u8>,
}

pub struct Postgres {
    server: Server,
}

impl Postgres {
    /// Starts a server, with one table whose indexes come last and one that is indexed from the beginning.
    pub fn start(parent: &Path) -> Result<Self, Failure> {
        let mut server = Server::start(parent)?;
        for table in ["records", "online"] {
            let columns = "id uuid NOT NULL, a bigint NOT NULL, b bigint NOT NULL, t0 text, t1 text, t2 text, t3 text, \
                           t4 text, words text[], tag bytea, sealed bytea";
            server.client.batch_execute(&format!("CREATE TABLE {table} ({columns})"))?;
            // Noise does not compress, and is not to be tried.
            server.client.batch_execute(&format!("ALTER TABLE {table} ALTER sealed SET STORAGE EXTERNAL"))?;
        }
        let mut this = Self { server };
        this.create_indexes("online")?;
        Ok(this)
    }

    pub fn version(&self) -> &str {
        &self.server.version
    }

    fn create_indexes(&mut self, table: &str) -> Result<(), Failure> {
        let mut sql = format!("ALTER TABLE {table} ADD PRIMARY KEY (id);");
        for column in COLUMNS {
            sql += &format!("CREATE INDEX {table}_{column} ON {table} ({column});");
        }
        sql += &format!("CREATE INDEX {table}_words ON {table} USING gin (words);");
        Ok(self.server.client.batch_execute(&sql)?)
    }

    /// Copies a batch in a transaction of its own: durable when this returns.
    pub fn copy(&mut self, table: &str, batch: &[Record], payloads: &[Payload]) -> Result<Duration, Failure> {
        let started = Instant::now();
        let columns = "id, a, b, t0, t1, t2, t3, t4, words, tag, sealed";
        let sink = self.server.client.copy_in(&format!("COPY {table} ({columns}) FROM STDIN BINARY"))?;
        let mut writer = BinaryCopyInWriter::new(sink, &TYPES);
        for (record, payload) in batch.iter().zip(payloads) {
            let [a, b] = record.order.map(i64::from);
            let id = Uuid::from_bytes(record.id.0);
            let [t0, t1, t2, t3, t4] = &record.tokens;
            let row: [&(dyn ToSql + Sync); 11] =
                [&id, &a, &b, t0, t1, t2, t3, t4, &record.words, &payload.tag, &payload.sealed];
            writer.write(&row)?;
        }
        writer.finish()?;
        Ok(started.elapsed())
    }

    /// Makes the indexes of the table that has none, and what its documentation asks for after a load.
    pub fn finish(&mut self) -> Result<Duration, Failure> {
        self.server.client.batch_execute("DROP TABLE online")?;
        let started = Instant::now();
        self.create_indexes("records")?;
        let took = started.elapsed();
        self.server.client.batch_execute("VACUUM ANALYZE records")?;
        self.server.client.batch_execute("CHECKPOINT")?;
        Ok(took)
    }

    /// Bytes of all indexes of the table.
    pub fn index_bytes(&mut self) -> Result<u64, Failure> {
        let row = self.server.client.query_one("SELECT pg_indexes_size('records')", &[])?;
        Ok(u64::try_from(row.try_get::<_, i64>(0)?)?)
    }

    /// Prepares the statement of questions that look like this one.
    pub fn prepare(&mut self, question: &Question) -> Result<Statement, Failure> {
        let mut n = 0;
        let sql = sql(question, &mut |_| {
            n += 1;
            format!("${n}")
        });
        Ok(self.server.client.prepare(&sql)?)
    }

    /// Id and tag of each match, through the socket: how many.
    pub fn find(&mut self, statement: &Statement, question: &Question) -> Result<usize, Failure> {
        let mut values: Vec<Box<dyn ToSql + Sync>> = Vec::new();
        for condition in &question.all {
            match condition {
                Condition::Range { from, to, .. } => {
                    values.push(Box::new(i64::from(*from)));
                    values.push(Box::new(i64::from(*to)));
                }
                Condition::Token { value, .. } => values.push(Box::new(value.clone())),
                Condition::Word(word) => values.push(Box::new(vec![word.clone()])),
            }
        }
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|v| &**v).collect();
        let rows = self.server.client.query(statement, &values)?;
        let mut bytes = 0;
        for row in &rows {
            let _: Uuid = row.try_get(0)?;
            bytes += row.try_get::<_, &[u8]>(1)?.len();
        }
        std::hint::black_box(bytes);
        Ok(rows.len())
    }

    /// The time it says the execution took it, without parsing, planning and the socket.
    pub fn explained(&mut self, question: &Question) -> Result<Duration, Failure> {
        let sql = sql(question, &mut |value| match value {
            Value::Number(n) => n.to_string(),
            Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
            Value::Words(word) => format!("ARRAY['{}']", word.replace('\'', "''")),
        });
        let said = self.server.client.simple_query(&format!("EXPLAIN (ANALYZE, TIMING OFF) {sql}"))?;
        let lines = said.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        let time = lines.filter_map(|line| line.strip_prefix("Execution Time: ")?.strip_suffix(" ms")).next();
        let ms: f64 = time.ok_or("EXPLAIN did not say its execution time")?.parse()?;
        Ok(Duration::from_secs_f64(ms / 1e3))
    }
}

enum Value<'a> {
    Number(u32),
    Text(&'a str),
    Words(&'a str),
}

/// A question as SQL, with each value as `place` writes it.
fn sql(question: &Question, place: &mut dyn FnMut(Value<'_>) -> String) -> String {
    let conditions: Vec<String> = question
        .all
        .iter()
        .map(|condition| match condition {
            Condition::Range { field, from, to } => {
                let (from, to) = (place(Value::Number(*from)), place(Value::Number(*to)));
                format!("{} BETWEEN {from} AND {to}", COLUMNS[*field])
            }
            Condition::Token { field, value } => format!("t{field} = {}", place(Value::Text(value))),
            Condition::Word(word) => format!("words @> {}::text[]", place(Value::Words(word))),
        })
        .collect();
    let order = question.page.map(|(field, limit)| format!(" ORDER BY {} DESC LIMIT {limit}", COLUMNS[field]));
    format!("SELECT id, tag FROM records WHERE {}{}", conditions.join(" AND "), order.unwrap_or_default())
}

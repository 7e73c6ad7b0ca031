// CipherSweet's blind indexes, timing themselves. One request a line, `OPERATION COUNT`; the answer is nanoseconds: of the
// clock's and the processor's the smaller, since the processor's has the runtime's own threads in it and the clock's what else
// the machine does.
// `index N`: blind indexes of N values of cardinality N/100, put into a map of lists. `search COUNT`: terms looked up.
"use strict";
const readline = require("node:readline");
const { version } = require("ciphersweet-js/package.json");
const { BlindIndex, CipherSweet, EncryptedField, FIPSCrypto, ModernCrypto, StringProvider } = require("ciphersweet-js");

const KEY = "4e1c44f87b4cdf21808762970b356891db180a9dd9850e7baf2a79ff3ab8a2fc";

function field(backend) {
  const engine = new CipherSweet(new StringProvider(KEY), backend);
  // 32 bits of output and the fast hash; the slow one is a password hash, slow by intent.
  return new EncryptedField(engine, "records", "code").addBlindIndex(new BlindIndex("code_index", [], 32, true));
}

const fields = { modern: field(new ModernCrypto()), fips: field(new FIPSCrypto()) };
const value = (n) => `http://loinc.org|${n}-4`;
const blind = async (which, n) => {
  const index = await fields[which].getBlindIndex(value(n), "code_index");
  return index.value ?? index;
};
const maps = {};

function stopwatch() {
  const [clock, processor] = [process.hrtime.bigint(), process.cpuUsage()];
  return () => {
    const { user, system } = process.cpuUsage(processor);
    const [byClock, byProcessor] = [process.hrtime.bigint() - clock, BigInt(user + system) * 1000n];
    return byClock < byProcessor ? byClock : byProcessor;
  };
}

async function build(which, records) {
  const values = Math.max(1, Math.floor(records / 100));
  const map = new Map();
  const elapsed = stopwatch();
  for (let id = 0; id < records; id++) {
    const term = await blind(which, (id * 7919) % values);
    const ids = map.get(term);
    if (ids) ids.push(id);
    else map.set(term, [id]);
  }
  const took = elapsed();
  maps[which] = { map, values };
  return took;
}

async function search(which, count) {
  const { map, values } = maps[which];
  let hits = 0;
  const elapsed = stopwatch();
  for (let i = 0; i < count; i++) hits += map.get(await blind(which, (i * 31) % values)).slice().length;
  const took = elapsed();
  if (hits < count) throw new Error("terms that were indexed were not found");
  return took;
}

async function main() {
  console.log(`ready ${version}`);
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [operation, count] = line.split(" ");
    const [kind, which] = operation.split("-");
    const took = await (kind === "index" ? build : search)(which, Number(count));
    console.log(String(took));
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

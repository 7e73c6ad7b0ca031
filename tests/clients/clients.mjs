// fhir-kit-client, fhirclient (SMART) and @medplum/core, unmodified, against a running gateway.
//
//     node clients.mjs BASE RECORDS
//
// BASE is the gateway's FHIR base URL, RECORDS the folder of NDJSON that was pushed: what the answers must be
// is worked out from it here, without Sealdex.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
// @medplum/core takes a WebSocket for granted, which Node has from version 22 on; nothing here opens one.
globalThis.WebSocket ??= class {};
const { MedplumClient } = await import("@medplum/core");
const kit = await import("fhir-kit-client");
const smart = require("fhirclient");

const base = process.argv[2].replace(/\/$/, "");
const records = process.argv[3];
let passed = 0;
let failed = 0;

function check(name, got, wanted) {
  const [g, w] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (g === w) {
    passed += 1;
    console.log(`ok    ${name}`);
  } else {
    failed += 1;
    console.log(`WRONG ${name}: got ${g?.slice(0, 300)}, wanted ${w?.slice(0, 300)}`);
  }
}

async function refused(name, work, status, of) {
  try {
    await work();
    check(name, "no error", status);
  } catch (e) {
    check(name, of(e), status);
  }
}

// What was pushed, each resource once.
const truth = {};
for (const hospital of readdirSync(records, { withFileTypes: true }).filter((d) => d.isDirectory())) {
  const folder = join(records, hospital.name);
  for (const file of readdirSync(folder).filter((f) => f.endsWith(".ndjson"))) {
    for (const line of readFileSync(join(folder, file), "utf8").split("\n").filter(Boolean)) {
      const r = JSON.parse(line);
      (truth[r.resourceType] ??= new Map()).set(r.id, r);
    }
  }
}
const observations = [...truth.Observation.values()];
const codes = (o) => (o.code.coding ?? []).map((c) => c.code);
const counts = new Map();
observations.flatMap(codes).forEach((c) => counts.set(c, (counts.get(c) ?? 0) + 1));
const [first, second] = [...counts].sort((a, b) => b[1] - a[1]).map(([c]) => c);
const ids = (all) => all.map((r) => r.id).sort();
const withCode = (...wanted) => observations.filter((o) => codes(o).some((c) => wanted.includes(c)));
const times = withCode(first).map((o) => o.effectiveDateTime).sort();
const day = times[Math.floor(times.length / 2)].slice(0, 10);
const since = withCode(first).filter((o) => o.effectiveDateTime.slice(0, 10) >= day);
const patients = [...truth.Patient.values()];
const women = patients.filter((p) => p.gender === "female");
const someone = ids(women)[0];
const visits = [...truth.Encounter.values()].filter((e) => e.subject.reference === `Patient/${someone}`);
const kinds = (bundle) => [...new Set(bundle.entry.map((e) => e.resource.resourceType))].sort();

async function withKit() {
  const Client = kit.Client ?? kit.default ?? kit;
  const client = new Client({ baseUrl: base });
  check("fhir-kit metadata", (await client.capabilityStatement()).fhirVersion, "4.0.1");
  const all = async (searchParams, resourceType) => {
    let page = await client.resourceSearch({ resourceType, searchParams });
    const found = [];
    while (page) {
      found.push(...(page.entry ?? []).map((e) => e.resource));
      page = page.link.some((l) => l.relation === "next") ? await client.nextPage({ bundle: page }) : undefined;
    }
    return found;
  };
  check("fhir-kit or", ids(await all({ code: `${first},${second}`, _count: 100 }, "Observation")), ids(withCode(first, second)));
  check("fhir-kit and", ids(await all({ code: first, date: `ge${day}` }, "Observation")), ids(since));
  check("fhir-kit pages hold everything once", ids(await all({ _count: 7 }, "Patient")), ids(patients));
  const posted = await client.resourceSearch({ resourceType: "Patient", searchParams: { gender: "female", _summary: "count" }, options: { postSearch: true } });
  check("fhir-kit count by POST", posted.total, women.length);
  check("fhir-kit read", await client.read({ resourceType: "Patient", id: someone }), truth.Patient.get(someone));
  const included = await client.resourceSearch({ resourceType: "Encounter", searchParams: { patient: someone, _include: "Encounter:patient" } });
  check("fhir-kit include", kinds(included), ["Encounter", "Patient"]);
  const compartment = await client.compartmentSearch({ resourceType: "Encounter", compartment: { resourceType: "Patient", id: someone } });
  check("fhir-kit compartment", compartment.total, visits.length);
  const status = (e) => e.response?.status ?? e.status;
  await refused("fhir-kit not found", () => client.read({ resourceType: "Patient", id: "nobody" }), 404, status);
  await refused("fhir-kit mistake", () => client.resourceSearch({ resourceType: "Observation", searchParams: { date: "yesterday" } }), 400, status);
}

async function withSmart() {
  const store = { get: async () => undefined, set: async (_, v) => v, unset: async () => true };
  const request = { url: "/", headers: { host: "localhost" } };
  const client = smart(request, {}, store).client({ serverUrl: base });
  check("smart metadata", (await client.request("metadata")).fhirVersion, "4.0.1");
  const all = (url) => client.request(url, { pageLimit: 0, flat: true });
  check("smart or", ids(await all(`Observation?code=${first},${second}`)), ids(withCode(first, second)));
  check("smart and", ids(await all(`Observation?code=${first}&date=ge${day}`)), ids(since));
  check("smart pages hold everything once", ids(await all("Patient?_count=7")), ids(patients));
  check("smart count", (await client.request("Patient?gender=female&_summary=count")).total, women.length);
  check("smart read", await client.request(`Patient/${someone}`), truth.Patient.get(someone));
  const resolved = await client.request(`Encounter/${visits[0].id}`, { resolveReferences: ["subject"], graph: true });
  check("smart resolves references", resolved.subject.id, someone);
  check("smart include", kinds(await client.request(`Encounter?patient=${someone}&_include=Encounter:subject`)), ["Encounter", "Patient"]);
  await refused("smart not found", () => client.request("Patient/nobody"), 404, (e) => e.status ?? e.statusCode);
  await refused("smart mistake", () => client.request("Observation?date=yesterday"), 400, (e) => e.status ?? e.statusCode);
}

async function withMedplum() {
  const at = new URL(base);
  const client = new MedplumClient({ baseUrl: `${at.origin}/`, fhirUrlPath: at.pathname.slice(1), cacheTime: 0 });
  check("medplum metadata", (await client.get(client.fhirUrl("metadata"))).fhirVersion, "4.0.1");
  const all = async (type, query) => {
    const found = [];
    for await (const page of client.searchResourcePages(type, query)) {
      found.push(...page);
    }
    return found;
  };
  check("medplum or", ids(await all("Observation", `code=${first},${second}&_count=100`)), ids(withCode(first, second)));
  check("medplum and", ids(await all("Observation", `code=${first}&date=ge${day}`)), ids(since));
  check("medplum pages hold everything once", ids(await all("Patient", "_count=7")), ids(patients));
  check("medplum count", (await client.search("Patient", "gender=female&_summary=count")).total, women.length);
  check("medplum read", await client.readResource("Patient", someone), truth.Patient.get(someone));
  check("medplum include", kinds(await client.search("Encounter", `patient=${someone}&_include=Encounter:subject`)), ["Encounter", "Patient"]);
  const everything = await client.readPatientEverything(someone);
  check("medplum $everything", everything.entry.filter((e) => e.resource.resourceType === "Encounter").length, visits.length);
  const issue = (e) => e.outcome?.issue?.[0]?.code;
  await refused("medplum not found", () => client.readResource("Patient", "nobody"), "not-found", issue);
  await refused("medplum mistake", () => client.search("Observation", "date=yesterday"), "invalid", issue);
}

for (const run of [withKit, withSmart, withMedplum]) {
  try {
    await run();
  } catch (e) {
    failed += 1;
    console.log(`WRONG ${run.name} stopped: ${e.stack ?? e}`);
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);

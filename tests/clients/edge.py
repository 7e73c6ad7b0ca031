"""The published FHIR searches with known answers, over HTTP, page by page.

    python edge.py BASE SUITE.json

Only the standard library: what is tested is the server.
"""

import hashlib
import json
import sys
import time
import urllib.parse
import urllib.request

base, suite = sys.argv[1].rstrip("/"), sys.argv[2]
with open(suite, encoding="utf-8") as f:
    queries = json.load(f)["queries"]
failed, times = 0, []
for q in queries:
    kind, query = q["fhir"].split("?", 1)
    pairs = [tuple(p.split("=", 1)) for p in query.split("&")]
    url = f"{base}/{kind}?{urllib.parse.urlencode([*pairs, ('_count', '50')])}"
    ids, totals, started = [], set(), time.time()
    while url:
        with urllib.request.urlopen(url) as answer:
            bundle = json.load(answer)
        if not totals:
            times.append((time.time() - started) * 1e3)
        totals.add(bundle["total"])
        found = [e["resource"] for e in bundle.get("entry", []) if e["search"]["mode"] == "match"]
        ids += [f"{r['resourceType']}/{r['id']}" for r in found]
        url = next((l["url"] for l in bundle["link"] if l["relation"] == "next"), None)
    digest = hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()
    expect = q["expect"]
    if (len(ids), digest, totals) != (expect["count"], expect["ids_sha256"], {expect["count"]}):
        failed += 1
        print(f"WRONG {q['id']} {q['fhir']}: {len(ids)} found, total {totals}, wanted {expect['count']}")
times.sort()
print(f"first pages: median {times[len(times) // 2]:.1f} ms, slowest {times[-1]:.1f} ms")
print(f"{len(queries) - failed} passed, {failed} failed")
sys.exit(failed > 0)

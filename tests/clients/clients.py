"""fhirclient and fhirpy, unmodified, against a running gateway; every resource validated with fhir.resources.

    python clients.py BASE RECORDS

BASE is the gateway's FHIR base URL, RECORDS the folder of NDJSON that was pushed: what the answers must be is
worked out from it here, without Sealdex.
"""

import asyncio
import collections
import glob
import json
import os
import sys

import fhirclient.client
import fhirpy
import fhirpy.base.exceptions
from fhir.resources.R4B import get_fhir_model_class
from fhirclient.models.bundle import Bundle
from fhirclient.models.encounter import Encounter
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRNotFoundException

base, records = sys.argv[1].rstrip("/"), sys.argv[2]
passed = failed = 0


def check(name, got, wanted):
    global passed, failed
    if got == wanted:
        passed += 1
        print(f"ok    {name}")
    else:
        failed += 1
        print(f"WRONG {name}: got {str(got)[:300]}, wanted {str(wanted)[:300]}")


def refused(name, status, work, *errors):
    """The client reports the server's refusal, with this status."""
    try:
        work()
    except errors as e:
        response = getattr(e, "response", None)
        code = getattr(response, "status_code", None)
        check(name, code if code is not None else type(e).__name__, status)
    else:
        check(name, "no error", status)


# What was pushed, each resource once.
truth = collections.defaultdict(dict)
for path in glob.glob(os.path.join(records, "*", "*.ndjson")):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            resource = json.loads(line)
            truth[resource["resourceType"]][resource["id"]] = resource


def codes(o):
    return {c.get("code") for c in o["code"].get("coding", [])}


def with_code(*wanted):
    return {i for i, o in truth["Observation"].items() if codes(o) & set(wanted)}


frequent = collections.Counter(c for o in truth["Observation"].values() for c in codes(o))
first, second = (code for code, _ in frequent.most_common(2))
times = sorted(o["effectiveDateTime"] for o in truth["Observation"].values() if first in codes(o))
day = times[len(times) // 2][:10]
since = {i for i in with_code(first) if truth["Observation"][i]["effectiveDateTime"][:10] >= day}
women = {i for i, p in truth["Patient"].items() if p.get("gender") == "female"}
someone = sorted(women)[0]


def ids(resources):
    return {r.id for r in resources}


def with_fhirclient():
    smart = fhirclient.client.FHIRClient({"app_id": "test", "api_base": base})
    server = smart.server
    check("fhirclient metadata", server.capabilityStatement.fhirVersion, "4.0.1")
    search = lambda model, query: list(model.where(query).perform_resources_iter(server))
    check("fhirclient or", ids(search(Observation, {"code": f"{first},{second}"})), with_code(first, second))
    check("fhirclient and", ids(search(Observation, {"code": first, "date": f"ge{day}"})), since)
    pages = list(Patient.where({"_count": "7"}).perform_iter(server))
    found = [e.resource.id for b in pages for e in b.entry]
    check("fhirclient pages hold everything once", sorted(found), sorted(truth["Patient"]))
    check("fhirclient pages are of the size asked for", {len(b.entry) for b in pages[:-1]}, {7})
    check("fhirclient total", {b.total for b in pages}, {len(truth["Patient"])})
    check("fhirclient read", Patient.read(someone, server).as_json(), truth["Patient"][someone])
    include = Encounter.where({"patient": someone}).include("subject")
    kinds = collections.Counter(r.resource_type for b in include.perform_iter(server) for r in (e.resource for e in b.entry))
    visits = [e for e in truth["Encounter"].values() if e["subject"]["reference"] == f"Patient/{someone}"]
    check("fhirclient include", dict(kinds), {"Encounter": len(visits), "Patient": 1})
    count = Bundle.read_from(f"Patient?gender=female&_summary=count", server)
    check("fhirclient count", (count.total, count.entry), (len(women), None))
    refused("fhirclient not found", 404, lambda: Patient.read("nobody", server), FHIRNotFoundException)
    refused("fhirclient mistake", 400, lambda: search(Observation, {"date": "yesterday"}), Exception)


async def with_fhirpy():
    client = fhirpy.AsyncFHIRClient(base)
    everything = lambda s: s.fetch_all()
    check("fhirpy metadata", (await client.execute("metadata", method="get"))["fhirVersion"], "4.0.1")
    one = await everything(client.resources("Observation").search(code=f"{first},{second}").limit(50))
    check("fhirpy or", ids(one), with_code(first, second))
    both = await everything(client.resources("Observation").search(code=first, date__ge=day))
    check("fhirpy and", ids(both), since)
    found = [p.id async for p in client.resources("Patient").limit(7)]
    check("fhirpy pages hold everything once", sorted(found), sorted(truth["Patient"]))
    check("fhirpy count", await client.resources("Patient").search(gender="female").count(), len(women))
    read = await client.resources("Patient").search(_id=someone).get()
    check("fhirpy get", read.serialize(), truth["Patient"][someone])
    chained = await everything(client.resources("Observation").search(code=first, patient__Patient__gender="female"))
    wanted = {i for i in with_code(first) if truth["Observation"][i]["subject"]["reference"].split("/")[1] in women}
    check("fhirpy chain", ids(chained), wanted)
    with_ = await client.resources("Encounter").search(patient=someone).include("Encounter", "subject").fetch_raw()
    check("fhirpy include", {e.resource.resource_type for e in with_.entry}, {"Encounter", "Patient"})
    for name, work, error in [
        ("fhirpy not found", client.reference("Patient", "nobody").to_resource(), fhirpy.base.exceptions.ResourceNotFound),
        ("fhirpy mistake", client.resources("Observation").search(date="yesterday").fetch(), fhirpy.base.exceptions.OperationOutcome),
    ]:
        try:
            await work
            check(name, "no error", error.__name__)
        except Exception as e:
            check(name, type(e).__name__, error.__name__)
    return client


async def validate(client):
    """Each resource the gateway returns is what was pushed, and R4."""
    for kind in sorted(truth):
        model = get_fhir_model_class(kind)
        got, wrong = {}, []
        async for resource in client.resources(kind).limit(500):
            document = resource.serialize()
            got[document["id"]] = document
            try:
                model.model_validate_json(json.dumps(document))
            except ValueError as e:
                wrong.append(f"{document['id']}: {e}"[:300])
        check(f"{kind}: {len(truth[kind])} resources valid R4", wrong, [])
        check(f"{kind}: as they were pushed", got == dict(truth[kind]), True)


with_fhirclient()

async def main():
    await validate(await with_fhirpy())


asyncio.run(main())
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)

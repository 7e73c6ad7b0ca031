#!/usr/bin/env python3
"""Writes structures.tsv from HL7's own definitions of FHIR R4.

    npm pack hl7.fhir.r4.examples@4.0.1 && tar xf hl7.fhir.r4.examples-4.0.1.tgz
    python3 generate.py package

Lines: `T name kind` begins a type (resource, complex, primitive, backbone, or abstract); `E name min max types`
is an element of it, `name[x]` a choice; `V number codes` a set of codes. Types: `code{number}` is limited to a
set of codes, `@path` is a type that begins elsewhere under that path.
"""

import glob
import json
import os
import sys

package, here = sys.argv[1], os.path.dirname(os.path.abspath(__file__))
LARGEST = 200


def load(pattern):
    for path in sorted(glob.glob(os.path.join(package, pattern))):
        with open(path, encoding="utf-8") as f:
            yield json.load(f)


code_systems = {c["url"]: c for c in load("CodeSystem-*.json") if c.get("content") == "complete"}
value_sets = {v["url"]: v for v in load("ValueSet-*.json")}
sets = []


def concepts(all_of):
    for c in all_of:
        yield c["code"]
        yield from concepts(c.get("concept", []))


def codes(url, seen=()):
    """All codes of a value set, or None when they cannot be listed."""
    value_set = value_sets.get(url.split("|")[0])
    if value_set is None or url in seen or "compose" not in value_set or "exclude" in value_set["compose"]:
        return None
    out = []
    for include in value_set["compose"]["include"]:
        if "filter" in include or ("valueSet" in include and "system" in include):
            return None
        for inner in include.get("valueSet", []):
            found = codes(inner, (*seen, url))
            if found is None:
                return None
            out += found
        if "concept" in include:
            out += [c["code"] for c in include["concept"]]
        elif "system" in include:
            if include["system"] not in code_systems:
                return None
            out += concepts(code_systems[include["system"]].get("concept", []))
    out = sorted(set(out))
    return out if 0 < len(out) <= LARGEST and not any(" " in c for c in out) else None


def kind_of(t):
    return t["code"].rsplit("/", 1)[-1].replace("System.String", "string")


def type_text(element, t):
    kind = kind_of(t)
    if kind == "code" and element.get("binding", {}).get("strength") == "required":
        found = codes(element["binding"].get("valueSet", ""))
        if found:
            if found not in sets:
                sets.append(found)
            return f"code{{{sets.index(found)}}}"
    return kind


lines = []
for s in sorted(load("StructureDefinition-*.json"), key=lambda s: s.get("type", "")):
    base = s["type"] in ("Element", "Resource")
    if s["kind"] == "logical" or not (s.get("derivation") == "specialization" or base) or s["name"] != s["type"]:
        continue
    kind = "abstract" if s["abstract"] else {"complex-type": "complex", "primitive-type": "primitive"}.get(s["kind"], s["kind"])
    if kind == "primitive":
        lines.append(f"T\t{s['type']}\tprimitive")
        continue
    types = {s["type"]: []}
    for e in s["snapshot"]["element"][1:]:
        path, name = e["path"].rsplit(".", 1)
        if "contentReference" in e:
            text = "@" + e["contentReference"].lstrip("#")
        elif [kind_of(t) for t in e["type"]] in (["BackboneElement"], ["Element"]):
            text = "@" + e["path"]
            types[e["path"]] = []
        else:
            text = " ".join(type_text(e, t) for t in e["type"])
        if e["path"] == s["type"] + ".id" and s["kind"] == "resource":
            text = "id"
        types[path].append(f"E\t{name}\t{e['min']}\t{e['max']}\t{text}")
    for path, elements in types.items():
        lines += [f"T\t{path}\t{kind if path == s['type'] else 'backbone'}", *elements]
with open(os.path.join(here, "structures.tsv"), "w", encoding="utf-8") as f:
    f.write("# FHIR R4 (4.0.1) by HL7 International, CC0-1.0; from npm hl7.fhir.r4.examples 4.0.1 by generate.py\n")
    f.write("".join(f"V\t{i}\t{' '.join(c)}\n" for i, c in enumerate(sets)))
    f.write("\n".join(lines) + "\n")
print(len(lines), "lines,", len(sets), "sets of codes")

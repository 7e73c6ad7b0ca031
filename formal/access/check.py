#!/usr/bin/env python3
"""Checks the models of this folder with Z3: each property by induction, each mutant by a run that violates it.

For every property of a model: init implies inv, a step keeps inv, inv implies the property (all for mutant 0, over
unbounded integers, so the property holds after any number of steps); then, for every mutant it names, there is a run of
at most DEPTH steps from init that ends where the property does not hold. Reachable states show that the model is not
vacuous. Exits non-zero at any verdict that is not the expected one.
"""
import pathlib, re, subprocess, sys

DEPTH = 9
HERE = pathlib.Path(__file__).resolve().parent


def z3(text: str) -> tuple[str, str]:
    done = subprocess.run(["z3", "-in", "-T:300"], input=text, capture_output=True, text=True, timeout=400)
    lines = done.stdout.strip().splitlines() or ["(nothing)"]
    return lines[0], done.stdout + done.stderr


def run(model: str, mutant: int, goal: str) -> str:
    """Text that asks for a run ending in goal, of 0 to DEPTH steps: a run may stand still at its end."""
    out = [model, f"(assert (= mutant {mutant}))", "(declare-const s0 S)", "(assert (init s0))"]
    for k in range(DEPTH):
        out += [f"(declare-const i{k} I)", f"(declare-const s{k + 1} S)", f"(assert (or (= s{k + 1} s{k}) (trans s{k} i{k} s{k + 1})))"]
    ends = " ".join(f"({goal.format(s=f's{k}')})" for k in range(DEPTH + 1))
    return "\n".join(out + [f"(assert (or {ends}))", "(check-sat)"])


def main() -> int:
    checks = wrong = 0

    def expect(what: str, verdict: str, wanted: str, detail: str = "") -> None:
        nonlocal checks, wrong
        checks += 1
        if verdict != wanted:
            wrong += 1
            print(f"WRONG   {what}: {verdict}, not {wanted}\n{detail}")

    for path in sorted(HERE.glob("*.smt2")):
        model = path.read_text()
        base = model + "\n(assert (= mutant 0))\n"
        print(path.stem)
        verdict, detail = z3(base + "(declare-const s S) (assert (init s)) (assert (not (inv s))) (check-sat)")
        expect(f"{path.stem}: the invariant holds at first", verdict, "unsat", detail)
        step = "(declare-const s S) (declare-const i I) (declare-const n S) (assert (inv s)) (assert (trans s i n)) (assert (not (inv n))) (check-sat)"
        verdict, detail = z3(base + step)
        expect(f"{path.stem}: every step keeps the invariant", verdict, "unsat", detail)
        props = re.findall(r";! property (.*)\n;! caught-by ([\d ]+)\n\(define-fun (\w+)", model)
        if len(props) != model.count(";! property"):
            print(f"WRONG   {path.stem}: a property names no mutant")
            return 1
        used = set()
        for text, mutants, name in props:
            verdict, detail = z3(base + f"(declare-const s S) (assert (inv s)) (assert (not ({name} s))) (check-sat)")
            expect(f"{path.stem}: {text}", verdict, "unsat", detail)
            if verdict == "unsat":
                print(f"  proved  {text}")
            for mutant in map(int, mutants.split()):
                used.add(mutant)
                verdict, detail = z3(run(model, mutant, f"not ({name} {{s}})"))
                expect(f"{path.stem}: mutant {mutant} against: {text}", verdict, "sat", detail)
                if verdict == "sat":
                    print(f"  caught  mutant {mutant}")
        planted = set(map(int, re.findall(r"\(= mutant (\d+)\)", model)))
        expect(f"{path.stem}: every mutant is caught by some property", str(sorted(planted - used)), "[]")
        for text, name in re.findall(r";! reachable (.*)\n\(define-fun (\w+)", model):
            verdict, detail = z3(run(model, 0, f"{name} {{s}}"))
            expect(f"{path.stem}: reachable: {text}", verdict, "sat", detail)
            if verdict == "sat":
                print(f"  reached {text}")
    print(f"{checks} checks, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

// Compiles SealdexAnchor.sol and prints the artefact; `--check` compares it with the one that is committed.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import solc from "solc";

const source = fileURLToPath(new URL("../SealdexAnchor.sol", import.meta.url));
const committed = fileURLToPath(new URL("../SealdexAnchor.json", import.meta.url));

const settings = {
  optimizer: { enabled: true, runs: 200 },
  evmVersion: "cancun",
  // Neither hash nor version in the bytecode: what the source says is all that is in it.
  metadata: { bytecodeHash: "none", appendCBOR: false },
};
const file = "SealdexAnchor.sol";
const output = JSON.parse(
  solc.compile(
    JSON.stringify({
      language: "Solidity",
      sources: { [file]: { content: readFileSync(source, "utf8") } },
      settings: {
        ...settings,
        outputSelection: {
          [file]: { SealdexAnchor: ["abi", "evm.bytecode.object", "evm.deployedBytecode"] },
        },
      },
    }),
  ),
);
for (const { formattedMessage } of output.errors ?? []) process.stderr.write(formattedMessage);
if (output.errors?.length) process.exit(1);

const { abi, evm } = output.contracts[file].SealdexAnchor;
const artefact = {
  contract: "SealdexAnchor",
  compiler: `solc ${solc.version()}`,
  settings,
  abi,
  bytecode: evm.bytecode.object,
  // As it is on the chain, with zeros where the poster's address (right-aligned in 32 bytes) is filled in.
  deployedBytecode: evm.deployedBytecode.object,
  posterAt: Object.values(evm.deployedBytecode.immutableReferences).flat().map(({ start }) => start),
};
const text = JSON.stringify(artefact, null, 2) + "\n";
if (process.argv[2] !== "--check") {
  process.stdout.write(text);
} else if (text !== readFileSync(committed, "utf8")) {
  console.error("SealdexAnchor.json is not what SealdexAnchor.sol compiles to: node compile.mjs > ../SealdexAnchor.json");
  process.exit(1);
}

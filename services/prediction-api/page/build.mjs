// Bundles the page into the Python package: `npm run build`, or `node build.mjs FOLDER` to look at it elsewhere.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(fileURLToPath(import.meta.url));
const target = process.argv[2] ?? join(root, "../pricecast_prediction_api/page");
mkdirSync(target, { recursive: true });

await build({
  entryPoints: { page: join(root, "src/main.ts") },
  outdir: target,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022"],
  legalComments: "none", // those of the libraries are in licences.txt
  logLevel: "warning",
});
await build({ entryPoints: [join(root, "src/page.css")], outdir: target, minify: true, target: ["es2022"], logLevel: "warning" });
for (const name of ["index.html", "icon.svg"]) copyFileSync(join(root, "src", name), join(target, name));

const notices = ["lightweight-charts", "fancy-canvas"].map((name) => {
  const folder = join(root, "node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  return `${name} ${version} (${license})\n\n${file ? readFileSync(join(folder, file), "utf8").trim() : ""}\n`;
});
notices.push("TradingView Lightweight Charts\u2122, Copyright (c) 2025 TradingView, Inc. https://www.tradingview.com/\n");
writeFileSync(join(target, "licences.txt"), notices.join("\n---\n\n"));

// What the bundle was made from: a test tells when it wasn't made anew, without Node.
const digest = createHash("sha256");
const sources = readdirSync(join(root, "src")).sort().map((name) => `src/${name}`);
for (const name of ["build.mjs", "package-lock.json", ...sources]) {
  digest.update(name).update("\0").update(readFileSync(join(root, name)));
}
writeFileSync(join(target, "sources.sha256"), `${digest.digest("hex")}\n`);

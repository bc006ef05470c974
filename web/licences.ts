// THIRD-PARTY.txt: which packages' code the built page holds, with their versions, licences and texts.
import { readdirSync, readFileSync } from "node:fs";
import type { Plugin } from "vite";

interface Locked {
  version: string;
  license?: string;
}

function packageOf(module: string): string | null {
  return /.*[\\/]node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+)[\\/]/.exec(module)?.[1]?.replaceAll("\\", "/") ?? null;
}

function textsOf(folder: string): string[] {
  const names = readdirSync(folder).filter((name) => /^(licen[cs]e|copying|notice)/i.test(name)).sort();
  return names.map((name) => readFileSync(`${folder}/${name}`, "utf8").trim());
}

export function licences(): Plugin {
  return {
    name: "licences",
    generateBundle(_, bundle) {
      const lock = JSON.parse(readFileSync("package-lock.json", "utf8")) as { packages: Record<string, Locked> };
      const modules = Object.values(bundle).flatMap((one) => (one.type === "chunk" ? Object.keys(one.modules) : []));
      const names = [...new Set(modules.map(packageOf).filter((name) => name !== null))].sort();
      const parts = names.map((name) => {
        const folder = `node_modules/${name}`;
        const locked = lock.packages[folder];
        const texts = textsOf(folder);
        if (!locked?.license || texts.length === 0) this.error(`${name}: no licence is known`);
        return `${name} ${locked.version} (${locked.license})\n\n${texts.join("\n\n")}\n`;
      });
      const rule = `\n${"-".repeat(80)}\n\n`;
      const source = `The web page of qvl holds code of these packages:\n${rule}${parts.join(rule)}`;
      this.emitFile({ type: "asset", fileName: "THIRD-PARTY.txt", source });
    },
  };
}

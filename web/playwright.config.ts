// The page in Debian's Chromium against the real server with the demo model. QVL_BUILD: the build folder (../build).
import { defineConfig } from "@playwright/test";

const build = process.env["QVL_BUILD"] ?? "../build";
const port = Number(process.env["QVL_PAGE_PORT"] ?? 18473);

export default defineConfig({
  testDir: "e2e",
  testMatch: process.env["QVL_SCREENSHOTS"] ? "screenshots.ts" : "*.spec.ts",
  outputDir: `${build}/page-tests`,
  workers: 1,
  timeout: 180_000,
  expect: { timeout: 30_000 },
  reporter: [["line"]],
  use: {
    baseURL: `http://127.0.0.1:${port}`,
    viewport: { width: 1280, height: 800 },
    locale: "en-US",
    launchOptions: {
      executablePath: process.env["QVL_CHROMIUM"] ?? "/usr/bin/chromium",
      args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync"],
    },
  },
  webServer: {
    command: `${build}/qvl serve --port ${port} --log-file /dev/null`,
    url: `http://127.0.0.1:${port}/ready`,
    timeout: 180_000,
    reuseExistingServer: false,
  },
});

// The page is built into files that the server embeds: no request to any other host, no inline script or style.
import { defineConfig } from "vite";
import { licences } from "./licences";

export default defineConfig({
  base: "/",
  plugins: [licences()],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "../build/page",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
  },
  server: { proxy: { "/v1": "http://127.0.0.1:8080", "/health": "http://127.0.0.1:8080", "/demo": "http://127.0.0.1:8080" } },
});

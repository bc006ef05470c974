// Shows HTML that the page around this frame sends it. The frame is a sandbox of its own origin, and its policy lets nothing
// run and nothing be loaded but this file: scripts and handlers in what is shown stay text.
"use strict";
addEventListener("message", (event) => {
  if (event.source !== parent || typeof event.data !== "string") return;
  const shown = new DOMParser().parseFromString(event.data, "text/html");
  for (const one of shown.querySelectorAll("script, iframe, object, embed, base, meta[http-equiv]")) one.remove();
  document.replaceChild(document.adoptNode(shown.documentElement), document.documentElement);
});
parent.postMessage("qvl-preview-ready", "*");

// Code in colours by highlight.js; loaded when the first block comes. Its tokens enter as nodes, not as HTML.
import hljs from "highlight.js/lib/core";
import bash from "highlight.js/lib/languages/bash";
import c from "highlight.js/lib/languages/c";
import css from "highlight.js/lib/languages/css";
import java from "highlight.js/lib/languages/java";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import markdown from "highlight.js/lib/languages/markdown";
import python from "highlight.js/lib/languages/python";
import sql from "highlight.js/lib/languages/sql";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";
import DOMPurify from "dompurify";

for (const [name, language] of Object.entries({ bash, c, css, java, javascript, json, markdown, python, sql, typescript, xml, yaml }))
  hljs.registerLanguage(name, language);

const MAX_COLOURED = 50000; // characters

export function colour(at: HTMLElement) {
  const source = at.textContent ?? "";
  const name = [...at.classList].find((one) => one.startsWith("language-"))?.slice("language-".length);
  if (source.length > MAX_COLOURED || !name || !hljs.getLanguage(name)) return;
  const html = hljs.highlight(source, { language: name, ignoreIllegals: true }).value;
  at.replaceChildren(DOMPurify.sanitize(html, { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true }));
}

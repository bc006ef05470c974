// A request as a program: what the composer holds, for curl, Python and JavaScript, without a library. Pictures and clips are
// read from files of their names; the server's key comes from the environment.

export const LANGUAGES = ["curl", "Python", "JavaScript"] as const;
export type Language = (typeof LANGUAGES)[number];

/** Where a file's bytes go: an address that no request has. In JSON a quote inside a text has a backslash before it. */
const FILE = /"qvl-file:([^"\\]*)"/g;

export function fileAddress(type: string, name: string): string {
  return `qvl-file:${encodeURIComponent(type)},${encodeURIComponent(name)}`;
}

/** `json` with files as `write` has them. */
function withFiles(json: string, write: (type: string, name: string) => string): string {
  return json.replace(FILE, (_, place: string) => {
    const [type = "", name = ""] = place.split(",").map(decodeURIComponent);
    return write(type, name);
  });
}

function quoteShell(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

function curl(json: string, url: string, hasKey: boolean): string {
  const quoted = json.replace(/[\\$`]/g, String.raw`\$&`); // which a here-document would take for the shell's
  const body = withFiles(quoted, (type, name) => String.raw`"data:${type};base64,$(base64 < ${quoteShell(name)} | tr -d '\n')"`);
  const key = hasKey ? ' -H "Authorization: Bearer $QVL_API_KEY"' : "";
  return `curl ${url} -H 'Content-Type: application/json'${key} -d @- <<END
${body}
END
`;
}

const PYTHON_HELPER = `
def data_uri(media_type, path):
    with open(path, "rb") as file:
        return f"data:{media_type};base64,{base64.b64encode(file.read()).decode()}"


`;
const PYTHON_WORDS: Record<string, string> = { true: "True", false: "False", null: "None" };

function python(json: string, url: string, hasKey: boolean): string {
  const words = json.replace(/"(?:[^"\\]|\\.)*"|\b(?:true|false|null)\b/g, (token) => PYTHON_WORDS[token] ?? token);
  const body = withFiles(words, (type, name) => `data_uri(${JSON.stringify(type)}, ${JSON.stringify(name)})`);
  const hasFile = body !== words;
  const key = hasKey ? ', "Authorization": "Bearer " + os.environ["QVL_API_KEY"]' : "";
  return `${hasFile ? "import base64\n" : ""}import json
${hasKey ? "import os\n" : ""}import urllib.request
${hasFile ? `\n${PYTHON_HELPER}` : "\n"}body = ${body}
request = urllib.request.Request(${JSON.stringify(url)}, json.dumps(body).encode(),
                                 {"Content-Type": "application/json"${key}})
with urllib.request.urlopen(request) as reply:
    print(json.load(reply)["choices"][0]["message"]["content"])
`;
}

const JAVASCRIPT_HELPER = `import { readFileSync } from "node:fs";

const dataUri = (type, path) => \`data:\${type};base64,\${readFileSync(path, "base64")}\`;

`;

function javascript(json: string, url: string, hasKey: boolean): string {
  const body = withFiles(json, (type, name) => `dataUri(${JSON.stringify(type)}, ${JSON.stringify(name)})`);
  const key = hasKey ? ', authorization: "Bearer " + process.env.QVL_API_KEY' : "";
  return `${body === json ? "" : JAVASCRIPT_HELPER}const body = ${body};
const reply = await fetch(${JSON.stringify(url)}, {
  method: "POST",
  headers: { "content-type": "application/json"${key} },
  body: JSON.stringify(body),
});
console.log((await reply.json()).choices[0].message.content);
`;
}

/** `body` may have addresses of fileAddress() in it. */
export function snippet(language: Language, body: unknown, origin: string, hasKey: boolean): string {
  const write = { curl, Python: python, JavaScript: javascript }[language];
  return write(JSON.stringify(body, null, 2), `${origin}/v1/chat/completions`, hasKey);
}

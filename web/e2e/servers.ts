// Servers of a test's own: the real one with other options, and one that stands before it and answers questions itself.
import { spawn, type ChildProcess } from "node:child_process";
import { createServer, request, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export const qvl = `${process.env["QVL_BUILD"] ?? "../build"}/qvl`;

/** `qvl serve` with these options; its address once it is ready. */
export async function serve(options: string[]): Promise<{ url: string; end: () => Promise<void> }> {
  const child: ChildProcess = spawn(qvl, ["serve", "--log-file", "/dev/null", ...options], { stdio: ["ignore", "ignore", "pipe"] });
  const url = await new Promise<string>((resolve, reject) => {
    let said = "";
    child.stderr!.on("data", (data: Buffer) => {
      said += data.toString();
      const at = /listening on (\S+)/.exec(said)?.[1];
      if (at && said.includes("ready after")) resolve(at);
    });
    child.on("exit", () => reject(new Error(`qvl serve ended: ${said}`)));
  });
  const end = () => new Promise<void>((resolve) => {
    child.on("exit", () => resolve());
    child.kill("SIGTERM");
  });
  return { url, end };
}

export type Say = (chunk: object) => void;

/** Everything is passed on to `upstream`, but a question: `answer` says its chunks. */
export async function before(upstream: string, answer: (say: Say) => Promise<void>): Promise<{ url: string; end: () => void }> {
  const server = createServer((incoming: IncomingMessage, reply: ServerResponse) => {
    if (incoming.url === "/v1/chat/completions") {
      incoming.resume().on("end", () => {
        reply.writeHead(200, { "content-type": "text/event-stream" });
        void answer((chunk) => reply.write(`data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", ...chunk })}\n\n`))
          .then(() => reply.end("data: [DONE]\n\n"));
      });
      return;
    }
    const { host: _, ...headers } = incoming.headers;
    const onward = request(`${upstream}${incoming.url}`, { method: incoming.method, headers }, (from) => {
      reply.writeHead(from.statusCode ?? 502, from.headers);
      from.pipe(reply);
    });
    onward.on("error", () => reply.destroy());
    incoming.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const end = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, end };
}

export const text = (content: string) => ({ choices: [{ index: 0, delta: { content }, finish_reason: null }] });
export const progress = (stage: string, done: number, total: number) => ({ choices: [], progress: { stage, done, total } });
export const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

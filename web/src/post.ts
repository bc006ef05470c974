// A POST whose body is told of while it goes out and whose reply is read while it comes in. XMLHttpRequest: fetch tells nothing
// of a body on its way.

export interface Reply {
  status: number;
  statusText: string;
  text: AsyncGenerator<string>; // of the reply, in the pieces in which it comes
}

export class ConnectionLost extends Error {}

/** Until the reply's head is there. */
export function post(path: string, headers: Record<string, string>, body: string, onSent: (done: number, total: number) => void,
  signal: AbortSignal): Promise<Reply> {
  const request = new XMLHttpRequest();
  let wake = () => {};
  const stop = () => request.abort();
  request.open("POST", path);
  for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
  request.upload.onprogress = (e) => onSent(e.loaded, e.total);
  signal.addEventListener("abort", stop);

  let hasFailed = false;
  const end = (isFailure: boolean) => () => {
    hasFailed = isFailure;
    signal.removeEventListener("abort", stop);
    wake();
  };
  request.onload = end(false);
  request.onerror = end(true);
  request.onabort = end(true);
  request.onprogress = () => wake();

  async function* text(): AsyncGenerator<string> {
    let taken = 0;
    for (;;) {
      const all = request.responseText;
      if (all.length > taken) yield all.slice(taken);
      taken = all.length;
      if (hasFailed) throw new ConnectionLost();
      if (request.responseText.length > taken) continue;
      if (request.readyState === XMLHttpRequest.DONE) return;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  }

  return new Promise((resolve, reject) => {
    wake = () => {
      wake = () => {};
      if (hasFailed) reject(new ConnectionLost());
      else resolve({ status: request.status, statusText: request.statusText, text: text() });
    };
    request.onreadystatechange = () => {
      if (request.readyState === XMLHttpRequest.HEADERS_RECEIVED) wake();
    };
    if (signal.aborted) reject(new ConnectionLost());
    else request.send(body);
  });
}

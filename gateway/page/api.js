// Calls of the gateway. Failures are `Refused`, whose text is the problem's detail.

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

let token = sessionStorage.getItem("token") ?? "";

export function setToken(text) {
  token = text;
  sessionStorage.setItem("token", text);
}

export const credentials = () => (token ? { authorization: `Bearer ${token}` } : {});

async function call(path, options = {}) {
  const headers = { ...options.headers, ...credentials() };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The gateway does not answer. Is it still running?");
  }
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, problem.detail ?? `The gateway answered with status ${answer.status}.`);
  }
  return answer;
}

export const about = async () => (await call("about.json")).json();

export const models = async () => (await call("v1/models")).json();

export const sample = async (name) => (await call(`samples/${encodeURIComponent(name)}`)).blob();

// Returns {record, times}: the people, and milliseconds by stage.
export async function poses(blob, query, signal) {
  const started = performance.now();
  const headers = { "content-type": blob.type || "application/octet-stream" };
  const answer = await call(`v1/poses?${query}`, { method: "POST", body: blob, headers, signal });
  const record = await answer.json();
  const inside = parseTimes(answer.headers.get("server-timing") ?? "");
  const known = Object.values(inside).reduce((sum, ms) => sum + ms, 0);
  return { record, times: { network: Math.max(0, performance.now() - started - known), ...inside } };
}

function parseTimes(header) {
  const spans = [...header.matchAll(/(\w+);dur=([\d.]+)/g)];
  return Object.fromEntries(spans.map(([, name, ms]) => [name, Number(ms)]));
}

// A stream of frames: one in flight. `ask` resolves with the answer to its frame.
export class Stream {
  constructor(query) {
    const url = new URL(`v1/stream?${query}`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    this.socket = new WebSocket(url, ["cigpose", ...(token ? [`bearer.${token}`] : [])]);
    this.opened = new Promise((resolve) => { this.socket.onopen = resolve; });
    this.socket.onclose = ({ code, reason }) => this.fail(code, reason || "The stream was closed. Is the gateway still running?");
    this.socket.onmessage = ({ data }) => {
      const { status, detail, ...answer } = JSON.parse(data);
      if (detail && answer.frame === undefined) return this.fail(status, detail); // the stream is refused, not a frame
      const { resolve, reject } = this.waiting;
      this.waiting = null;
      if (detail) reject(new Refused(status, detail));
      else resolve(answer);
    };
  }

  // No frame is answered any more. `failure` says why; the first reason counts.
  fail(status, detail) {
    this.failure ??= new Refused(status, detail);
    this.waiting?.reject(this.failure);
  }

  // Sends a JPEG with its time in seconds; returns {record, times}.
  async ask(blob, seconds) {
    if (this.failure) throw this.failure;
    const answer = new Promise((resolve, reject) => { this.waiting = { resolve, reject }; });
    await Promise.race([this.opened, answer]);
    const started = performance.now();
    this.socket.send(JSON.stringify({ time_s: seconds }));
    this.socket.send(blob);
    const { server_ms: server, ...record } = await answer;
    return { record, times: { network: Math.max(0, performance.now() - started - server), server } };
  }

  close() {
    this.socket.onclose = null;
    this.failure ??= new DOMException("closed", "AbortError"); // also for a frame that is not yet sent
    this.waiting?.reject(this.failure);
    this.socket.close();
  }
}

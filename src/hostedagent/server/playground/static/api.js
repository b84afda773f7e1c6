// The Responses protocol as the page speaks it: nothing here is private to the page.

export class ApiError extends Error {
  constructor(status, error) {
    super(error?.message ?? `The server answered ${status}.`);
    this.status = status;
    this.param = error?.param ?? null;
  }
}

export class Api {
  // `root` is the path below which `/responses` is; `user` is the identity to send, or "" for the local user.
  constructor(root, user) {
    this.root = root;
    this.user = user;
  }

  headers() {
    return this.user ? { "x-agent-user-id": this.user } : {};
  }

  async create(body, signal) {
    return this.#fetch("/responses", {
      method: "POST",
      headers: { "content-type": "application/json", ...this.headers() },
      body: JSON.stringify(body),
      signal,
    });
  }

  async follow(id, after, signal) {
    const query = after === null ? "" : `&starting_after=${after}`;
    return this.#fetch(`/responses/${encodeURIComponent(id)}?stream=true${query}`, { headers: this.headers(), signal });
  }

  async retrieve(id) {
    return (await this.#fetch(`/responses/${encodeURIComponent(id)}`, { headers: this.headers() })).json();
  }

  async cancel(id) {
    await this.#fetch(`/responses/${encodeURIComponent(id)}/cancel`, { method: "POST", headers: this.headers() });
  }

  async delete(id) {
    await this.#fetch(`/responses/${encodeURIComponent(id)}`, { method: "DELETE", headers: this.headers() });
  }

  async #fetch(path, options) {
    const response = await fetch(this.root + path, options);
    if (response.ok) return response;
    let error = null;
    try {
      error = (await response.json()).error;
    } catch {
      // The status is all there is.
    }
    throw new ApiError(response.status, error);
  }
}

// Reads server-sent events: yields `{ event, size }` for each, where `event` is the parsed data and `size` its bytes.
export async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const frames = (rest + value).split("\n\n");
      rest = frames.pop();
      for (const frame of frames) {
        const data = frame.split("\n").filter((line) => line.startsWith("data:"));
        if (data.length === 0) continue;
        const text = data.map((line) => line.slice(5).trimStart()).join("\n");
        if (text !== "[DONE]") yield { event: JSON.parse(text), size: frame.length + 2 };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

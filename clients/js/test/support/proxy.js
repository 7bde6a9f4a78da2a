// A proxy between a client and a gateway that does what networks do.
import { once } from "node:events";
import { connect, createServer } from "node:net";

/** Passes bytes on to the first of these that takes them, until it is told otherwise. */
export async function proxy(t, ...ports) {
  const pairs = new Set();
  const held = new Set();
  const how = { mode: "pass" };
  const server = createServer(async (client) => {
    if (how.mode === "refuse") return client.destroy();
    const upstream = await first(ports);
    if (!upstream) return client.destroy();
    const pair = { client, upstream };
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) socket.on("error", end).on("close", end);
    let request = "";
    client.on("data", (bytes) => {
      request = String(bytes);
      server.emit("asked", request);
      if (how.mode === "502") return client.end("HTTP/1.1 502 Bad Gateway\r\nAccess-Control-Allow-Origin: *\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
      upstream.write(bytes);
    });
    upstream.on("data", (bytes) => {
      // Nothing of a stream comes through, as where a proxy waits for its buffer to fill.
      const keep = how.mode === "buffer" && request.startsWith("GET /v1/events");
      if (how.mode === "silent") held.add(bytes);
      else if (!keep) client.write(bytes);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const cut = () => {
    for (const { client, upstream } of pairs) {
      client.destroy();
      upstream.destroy();
    }
  };
  t.after(() => {
    cut();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cut,
    /** `pass`, `refuse` new connections, `silent`: nothing of what the gateway says, `buffer`: nothing of streams, `502`. */
    be: (mode) => {
      how.mode = mode;
    },
    /** The next request, as text. */
    asked: async () => (await once(server, "asked"))[0],
    get connections() {
      return pairs.size;
    },
  };
}

async function first(ports) {
  for (const port of ports) {
    const socket = connect(port, "127.0.0.1");
    const up = await once(socket, "connect").then(() => true, () => false);
    if (up) return socket;
  }
  return undefined;
}

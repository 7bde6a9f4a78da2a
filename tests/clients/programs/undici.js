import { EventSource } from "undici";
import { follow } from "./report.js";

// It keeps no process alive while it waits to reconnect.
setInterval(() => {}, 60_000);
follow(new EventSource(process.argv[2]));

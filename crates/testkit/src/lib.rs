//! For tests only: a real redis-server child, a real nginx child, gateway nodes, an SSE reader.

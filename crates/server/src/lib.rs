//! HTTP: listeners, routes, transports and errors.

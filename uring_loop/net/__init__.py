"""Sockets: transports, listeners, sock_* calls, connecting, TLS, name resolution."""
